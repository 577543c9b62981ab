package docs_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// ofTheBot is what the bot's Redis integration offers, by the headings of the document.
func ofTheBot() map[string]string {
	return map[string]string{
		"MenuCache":       "get_user_menu set_user_menu delete_user_menu clear_user_all_menus get_cached_users refresh_user_menu",
		"MenuBuilder":     "build_main_menu build_preferences_menu",
		"EventPublisher":  "publish_event publish_user_event publish_global_event publish_microservice_event",
		"TempDataManager": "store_temp_data get_temp_data delete_temp_data exists_temp_data update_temp_data_timeout",
		"EventSubscriber": "subscribe_to_channel subscribe_to_user_events subscribe_to_global_events subscribe_to_service_events " +
			"register_handler listen_for_messages",
		"UserTempDataManager": "store get delete exists store_form_data get_form_data clear_all_form_data " +
			"store_conversation_state get_conversation_state clear_conversation_state",
		"SessionDataManager":      "store_session_data get_session_data delete_session_data",
		"ActivityTempDataManager": "store_matching_request get_matching_request store_activity_draft get_activity_draft",
		"RedisManager": "get_employee_cache_key get_activity_cache_key get_interests_cache_key cache_employee_data " +
			"get_employee_data cache_employee_interests get_employee_interests invalidate_employee_cache " +
			"async_invalidate_employee_cache cache_activity_participants get_activity_participants store_bot_session " +
			"get_bot_session clear_bot_session is_redis_available",
		"EnhancedRedisManager": "cache_user_menu get_user_menu store_user_conversation_state get_user_conversation_state " +
			"publish_user_event get_redis_health clear_user_cache",
		"redis_integration": "get_user_manager health_check clear_all_cache get_cache_stats",
	}
}

// TestEveryMethodOfTheBotHasItsCall reads the tables of docs/migrating-from-django.md: each of the bot's methods has a row,
// and each row a call that is in the contract, a command, or a reason why there is none.
func TestEveryMethodOfTheBotHasItsCall(t *testing.T) {
	t.Parallel()
	c := loadContract(t)
	missing := ofTheBot()
	for _, s := range sections(read(t, "docs/migrating-from-django.md")) {
		methods, isClass := missing[s.title]
		if !isClass && s.title != "Functions of the modules" {
			continue
		}
		t.Run(s.title, func(t *testing.T) {
			t.Parallel()
			described := map[string]bool{}
			for _, row := range rows(s.text) {
				if len(row) != 3 {
					t.Fatalf("%q has %d cells, not 3", row, len(row))
				}
				name, _, ok := strings.Cut(strings.Trim(row[0], "`"), "(")
				if isClass && !ok || described[name] {
					t.Errorf("%q is no method, or is there twice", row[0])
				}
				described[name] = true
				c.checkCell(t, row[1])
				for _, text := range spans(row[2]) {
					if operation.MatchString(text) {
						c.checkCall(t, text)
					}
				}
			}
			for _, name := range strings.Fields(methods) {
				if !described[name] {
					t.Errorf("%s has no row", name)
				}
				delete(described, name)
			}
			for name := range described {
				if isClass {
					t.Errorf("%s is no method of the bot", name)
				}
			}
		})
		delete(missing, s.title)
	}
	for class := range missing {
		t.Errorf("%s is missing", class)
	}
}

// TestEveryCallInTheDocumentsExists checks what looks like a call anywhere in the text of a document.
func TestEveryCallInTheDocumentsExists(t *testing.T) {
	t.Parallel()
	c := loadContract(t)
	for _, name := range documents(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, text := range spans(read(t, name)) {
				if ours.MatchString(text) {
					c.checkCall(t, text)
				}
			}
		})
	}
}

var (
	operation = regexp.MustCompile(`^(GET|HEAD|PUT|POST|PATCH|DELETE) /`)
	// ours leaves out the calls of the Java service, which begin with /api, and paths that are cut short.
	ours        = regexp.MustCompile(`^(GET|HEAD|PUT|POST|PATCH|DELETE) /(v1|health|stats|openapi\.yaml|docs)[^…]*$`)
	placeholder = regexp.MustCompile(`\{(\w+)\}`)
)

// contract finds operations.
type contract struct{ router routers.Router }

func loadContract(tb testing.TB) contract {
	tb.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile(root + "/api/openapi.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	doc.Servers = nil
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		tb.Fatal(err)
	}
	return contract{router}
}

// checkCell checks the cell of a table that says what to call.
func (c contract) checkCell(tb testing.TB, cell string) {
	tb.Helper()
	if _, why, ok := strings.Cut(cell, "not needed: "); ok && why != "" {
		return
	}
	if _, why, ok := strings.Cut(cell, "none: "); ok && why != "" {
		return
	}
	calls := spans(cell)
	if len(calls) == 0 {
		tb.Errorf("%q is no call", cell)
	}
	for _, call := range calls {
		if !strings.HasPrefix(call, "connecthub ") { // Commands are tried in test/clients.
			c.checkCall(tb, call)
		}
	}
}

// checkCall checks a call such as "PUT /v1/temp/{namespace}/{key}?ttl={seconds}": that the contract has it, with these
// parameters. What is in braces stands for a value of that kind.
func (c contract) checkCall(tb testing.TB, call string) {
	tb.Helper()
	samples := map[string]string{
		"user_id": "123", "role": "admin", "menu_type": "main", "seconds": "600", "limit": "100", "channel": "user:123",
		"service": "matching", "type": "user.login",
	}
	method, target, ok := strings.Cut(call, " ")
	if !ok || !operation.MatchString(call) {
		tb.Errorf("%q is no call", call)
		return
	}
	target = placeholder.ReplaceAllStringFunc(target, func(name string) string {
		if sample, known := samples[strings.Trim(name, "{}")]; known {
			return sample
		}
		return "a1"
	})
	if strings.HasSuffix(target, "=") {
		target += "a1" // A parameter is only named.
	}
	req, err := http.NewRequest(method, target, nil)
	if err != nil {
		tb.Errorf("%s: %v", call, err)
		return
	}
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		tb.Errorf("%s: %v", call, err)
		return
	}
	for name := range req.URL.Query() {
		if route.Operation.Parameters.GetByInAndName("query", name) == nil {
			tb.Errorf("%s: there is no parameter %s", call, name)
		}
	}
	err = openapi3filter.ValidateRequest(tb.Context(), &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			ExcludeRequestBody: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			ExcludeRequestQueryParams: req.URL.RawQuery == "", // Then it names the operation and nothing more.
		},
	})
	if err != nil {
		tb.Errorf("%s: %v", call, err)
	}
}
