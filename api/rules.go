package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
)

// route is an operation: a method and a path as Echo has it.
type route struct{ method, path string }

// rule says who may make a request to a route.
type rule struct {
	// open lets everybody in, without a key. Else allow lets a key pass, or says which scope it lacks; it reads no body. Some
	// handlers ask for more, once they know more.
	open  bool
	allow func(echo.Context) error
	// action is what the audit log calls it; "" for what is not written there: a value, a step, a form, a lease and the place
	// in a dialogue are the data of who takes them away.
	action string
}

// ruleOf returns the rule of a route. HEAD follows GET.
func (s *Server) ruleOf(c echo.Context) (rule, bool) {
	r := route{c.Request().Method, c.Path()}
	found, ok := s.rules[r]
	if !ok && r.method == http.MethodHead {
		r.method = http.MethodGet
		found, ok = s.rules[r]
	}
	return found, ok
}

// rules returns the one rule of every route. A route without one is refused to everybody.
func rules() map[route]rule {
	anyKey := func(echo.Context) error { return nil }
	part := func(name string) func(echo.Context) error {
		return func(c echo.Context) error { return allow(c, name) }
	}
	menus, match, admin := part("menus"), part("match"), part("admin")
	namespace := func(c echo.Context) error { return allowTemp(c, pathParam(c, "namespace")) }
	user := func(c echo.Context) error { return allowTemp(c, ofUser(pathParam(c, "user_id")).namespace) }
	userCache := func(c echo.Context) error { return allowUserCache(c, ofUser(pathParam(c, "user_id")).namespace) }
	dialogues := func(c echo.Context) error { return allowTemp(c, conversations) }
	toUser := func(c echo.Context) error {
		ch, err := events.ParseUser(pathParam(c, "user_id"))
		return allowSomePublish(c, ch, err, "user:*")
	}
	toAll := func(c echo.Context) error { return allowSomePublish(c, events.Global(), nil, "") }
	toService := func(c echo.Context) error {
		ch, err := events.Service(pathParam(c, "service"))
		return allowSomePublish(c, ch, err, "service:*")
	}
	const get, put, post, patch, remove = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete
	return map[route]rule{
		{get, "/health"}:         {open: true},
		{get, "/health/live"}:    {open: true},
		{get, "/health/ready"}:   {open: true},
		{get, "/health/startup"}: {open: true},
		{get, "/openapi.yaml"}:   {open: true},
		{get, "/docs"}:           {open: true},

		{get, "/stats"}:        {allow: anyKey},
		{post, "/stats/reset"}: {allow: admin, action: "stats_reset"},

		{post, "/v1/events/users/:user_id"}:    {allow: toUser},
		{post, "/v1/events/global"}:            {allow: toAll},
		{post, "/v1/events/services/:service"}: {allow: toService},
		{get, "/v1/events"}:                    {allow: allowAsked},
		{get, "/v1/stream"}:                    {allow: allowAsked},
		{get, "/v1/events/types"}:              {allow: anyKey},

		{get, "/v1/menus"}:                              {allow: menus},
		{get, "/v1/menus/:user_id/:menu_type"}:          {allow: menus},
		{post, "/v1/menus/:user_id/:menu_type"}:         {allow: menus},
		{put, "/v1/menus/:user_id/:menu_type"}:          {allow: menus},
		{remove, "/v1/menus/:user_id/:menu_type"}:       {allow: menus, action: "menu_cleared"},
		{post, "/v1/menus/:user_id/:menu_type/refresh"}: {allow: menus},
		{remove, "/v1/menus/:user_id"}:                  {allow: menus, action: "user_menus_cleared"},
		{post, "/v1/menus/warm"}:                        {allow: menus},
		{post, "/v1/menus/invalidate"}:                  {allow: menus, action: "menus_invalidated"},
		{get, "/v1/menus/definitions"}:                  {allow: menus},
		{get, "/v1/menus/callbacks/:id"}:                {allow: menus},
		{get, "/v1/menus/dead-writes"}:                  {allow: menus},
		{post, "/v1/menus/dead-writes/:id/retry"}:       {allow: menus, action: "dead_write_retried"},

		{put, "/v1/temp/:namespace/:key"}:        {allow: namespace},
		{get, "/v1/temp/:namespace/:key"}:        {allow: namespace},
		{remove, "/v1/temp/:namespace/:key"}:     {allow: namespace},
		{post, "/v1/temp/:namespace/:key/touch"}: {allow: namespace},
		{post, "/v1/temp/:namespace/batch"}:      {allow: namespace},
		{get, "/v1/temp/:namespace"}:             {allow: namespace},
		{remove, "/v1/temp/:namespace"}:          {allow: namespace, action: "namespace_cleared"},

		{put, "/v1/users/:user_id/temp/:key"}:        {allow: user},
		{get, "/v1/users/:user_id/temp/:key"}:        {allow: user},
		{remove, "/v1/users/:user_id/temp/:key"}:     {allow: user},
		{post, "/v1/users/:user_id/temp/:key/touch"}: {allow: user},
		{post, "/v1/users/:user_id/temp/batch"}:      {allow: user},
		{get, "/v1/users/:user_id/temp"}:             {allow: user},
		{remove, "/v1/users/:user_id/temp"}:          {allow: user, action: "user_temp_cleared"},

		{put, "/v1/users/:user_id/forms/:form/steps/:step"}:    {allow: user},
		{get, "/v1/users/:user_id/forms/:form/steps/:step"}:    {allow: user},
		{remove, "/v1/users/:user_id/forms/:form/steps/:step"}: {allow: user},
		{get, "/v1/users/:user_id/forms/:form"}:                {allow: user},
		{patch, "/v1/users/:user_id/forms/:form"}:              {allow: user},
		{remove, "/v1/users/:user_id/forms/:form"}:             {allow: user},
		{post, "/v1/users/:user_id/forms/:form/back"}:          {allow: user},
		{post, "/v1/users/:user_id/forms/:form/submit"}:        {allow: user},
		{get, "/v1/users/:user_id/forms"}:                      {allow: user},
		{remove, "/v1/users/:user_id/forms"}:                   {allow: user, action: "forms_cleared"},

		{put, "/v1/users/:user_id/conversation"}:    {allow: user},
		{get, "/v1/users/:user_id/conversation"}:    {allow: user},
		{remove, "/v1/users/:user_id/conversation"}: {allow: user},
		{post, "/v1/users/:user_id/lease"}:          {allow: user},
		{remove, "/v1/users/:user_id/lease"}:        {allow: user},

		{post, "/v1/conversations/:conversation_id/messages"}:   {allow: dialogues},
		{get, "/v1/conversations/:conversation_id/messages"}:    {allow: dialogues},
		{remove, "/v1/conversations/:conversation_id/messages"}: {allow: dialogues, action: "conversation_cleared"},

		{remove, "/v1/users/:user_id/cache"}: {allow: userCache, action: "user_cache_cleared"},
		{remove, "/v1/cache"}:                {allow: admin, action: "cache_cleared"},

		{post, "/v1/matching/secret-coffee"}:              {allow: match},
		{post, "/v1/matching/secret-coffee/from-api"}:     {allow: match},
		{post, "/v1/matching/coffee/simple"}:              {allow: match},
		{post, "/v1/matching/coffee/interest"}:            {allow: match},
		{post, "/v1/matching/tournament"}:                 {allow: match},
		{post, "/v1/matching/teams"}:                      {allow: match},
		{get, "/v1/matching/algorithms"}:                  {allow: match},
		{post, "/v1/matching/requests"}:                   {allow: match},
		{get, "/v1/matching/requests"}:                    {allow: match},
		{get, "/v1/matching/requests/:request_id"}:        {allow: match},
		{post, "/v1/matching/requests/:request_id/retry"}: {allow: match, action: "matching_retried"},
	}
}
