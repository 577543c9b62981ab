package api

import (
	"bytes"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// PutFormStep answers PUT /v1/users/{user_id}/forms/{form}/steps/{step}.
func (s *Server) PutFormStep(c echo.Context) error {
	a := ofUser(pathParam(c, "user_id"))
	body := bodies.Get().(*bytes.Buffer)
	defer func() { body.Reset(); bodies.Put(body) }()
	if err := readJSON(c, body); err != nil {
		return err
	}
	form, step, ttl, condition := pathParam(c, "form"), pathParam(c, "step"), a.query(c, "ttl"), a.condition(c)
	written, err := s.deps.Temp.PutStep(toTheEnd(c), tempdata.PutStep{
		FormKey: a.form(form), Step: tempdata.Step{Name: step, Data: body.Bytes()}, TTL: readTTL(ttl), Condition: condition,
	})
	if err != nil {
		return a.told(err)
	}
	status := http.StatusOK
	if written.Created {
		status = http.StatusCreated
	}
	tempHeader(c, written.ETag, written.Degraded)
	o := object(nil).text("form", form).text("step", step).expires(written.ExpiresIn)
	return answerJSON(c, status, o.end(written.Degraded))
}

// GetFormStep answers GET /v1/users/{user_id}/forms/{form}/steps/{step}.
func (s *Server) GetFormStep(c echo.Context) error {
	a := ofUser(pathParam(c, "user_id"))
	v, err := s.deps.Temp.Step(toTheEnd(c), a.form(pathParam(c, "form")), pathParam(c, "step"))
	if err != nil {
		return stepNotFound(err)
	}
	if notModified(c, v.ETag, v.ExpiresIn, v.Degraded) {
		return nil
	}
	return answerJSON(c, http.StatusOK, v.Data)
}

// DeleteFormStep answers DELETE /v1/users/{user_id}/forms/{form}/steps/{step}.
func (s *Server) DeleteFormStep(c echo.Context, userID UserID, form FormName, step StepName, _ DeleteFormStepParams) error {
	a := ofUser(userID)
	condition := a.condition(c)
	written, err := s.deps.Temp.DeleteStep(toTheEnd(c), a.form(form), step, condition)
	if err != nil {
		return stepNotFound(a.told(err))
	}
	tempHeader(c, written.ETag, written.Degraded)
	return c.JSON(http.StatusOK, FormStepGone{Form: form, Step: step, Deleted: true, Degraded: written.Degraded})
}

func stepNotFound(err error) error {
	if errors.Is(err, tempdata.ErrNoStep) {
		return noSuchStep(err, "The form is there, but has no step of this name.")
	}
	return noSuchStep(err, "The user has no form of this name. Perhaps it has expired, or was submitted.")
}

func noSuchStep(err error, detail string) error {
	return notFoundAs(err, codeStepNotFound, "There is no such step", detail)
}

func formNotFound(err error) error {
	if errors.Is(err, tempdata.ErrNoStep) {
		return noSuchStep(err, "The form is there, but has no step left.")
	}
	return notFoundAs(err, codeFormNotFound, "There is no such form",
		"The user has no form of this name. Perhaps it has expired, or was submitted.")
}

// GetForm answers GET /v1/users/{user_id}/forms/{form}.
func (s *Server) GetForm(c echo.Context, userID UserID, form FormName, _ GetFormParams) error {
	a := ofUser(userID)
	f, err := s.deps.Temp.Form(toTheEnd(c), a.form(form))
	if err != nil {
		return formNotFound(err)
	}
	if notModified(c, f.ETag, f.ExpiresIn, f.Degraded) {
		return nil
	}
	return answerForm(c, object(nil), form, &f)
}

// answerForm answers with a form, behind what the object has already.
func answerForm(c echo.Context, o object, form string, f *tempdata.Form) error {
	tempHeader(c, f.ETag, f.Degraded)
	o = o.text("form", form).raw("steps", stepsOf(f)).text("updated_at", events.FormatTimestamp(f.UpdatedAt)).expires(f.ExpiresIn)
	return answerJSON(c, http.StatusOK, o.end(f.Degraded))
}

// stepsOf writes the steps of a form, in their order.
func stepsOf(f *tempdata.Form) []byte {
	if len(f.Steps) == 0 {
		return []byte("{}")
	}
	var steps object
	for _, step := range f.Steps {
		steps = steps.raw(step.Name, step.Data)
	}
	return steps.end(false)
}

// PatchForm answers PATCH /v1/users/{user_id}/forms/{form}.
func (s *Server) PatchForm(c echo.Context, userID UserID, form FormName, params PatchFormParams) error {
	a := ofUser(userID)
	var body bytes.Buffer
	if err := readJSON(c, &body, "application/merge-patch+json"); err != nil {
		return err
	}
	condition := a.condition(c)
	f, err := s.deps.Temp.PatchForm(toTheEnd(c), tempdata.PatchForm{
		FormKey: a.form(form), Patch: body.Bytes(), TTL: readTTL(params.TTL), Condition: condition,
	})
	if err != nil {
		return formNotFound(a.told(err))
	}
	return answerForm(c, object(nil), form, &f)
}

// GoBackInForm answers POST /v1/users/{user_id}/forms/{form}/back.
func (s *Server) GoBackInForm(c echo.Context, userID UserID, form FormName, _ GoBackInFormParams) error {
	a := ofUser(userID)
	condition := a.condition(c)
	removed, f, err := s.deps.Temp.Back(toTheEnd(c), a.form(form), condition)
	if err != nil {
		return formNotFound(unsure(a.told(err),
			"It is not known whether the step is gone. Get the form, or try again with If-Match."))
	}
	return answerForm(c, object(nil).text("removed", removed), form, &f)
}

// DeleteForm answers DELETE /v1/users/{user_id}/forms/{form}.
func (s *Server) DeleteForm(c echo.Context, userID UserID, form FormName, _ DeleteFormParams) error {
	a := ofUser(userID)
	condition := a.condition(c)
	written, err := s.deps.Temp.DeleteForm(toTheEnd(c), a.form(form), condition)
	if err != nil {
		return formNotFound(a.told(err))
	}
	tempHeader(c, "", written.Degraded)
	return c.JSON(http.StatusOK, FormGone{Form: form, Deleted: true, Degraded: written.Degraded})
}

// ListForms answers GET /v1/users/{user_id}/forms.
func (s *Server) ListForms(c echo.Context, userID UserID, params ListFormsParams) error {
	a := ofUser(userID)
	page, err := s.deps.Temp.Forms(toTheEnd(c), a.userID, readCursor(params.Cursor), readLimit(params.Limit))
	if err != nil {
		return err
	}
	list := FormList{Forms: make([]ListedForm, len(page.Items)), NextCursor: nextCursor(writeCursor(page.Next))}
	for i, item := range page.Items {
		list.Forms[i] = ListedForm{Form: item.Name, ExpiresIn: secondsOrEver(item.ExpiresIn)}
	}
	return c.JSON(http.StatusOK, list)
}

// ClearForms answers DELETE /v1/users/{user_id}/forms.
func (s *Server) ClearForms(c echo.Context, userID UserID) error {
	a := ofUser(userID)
	if err := a.unconditional(c); err != nil {
		return err
	}
	n, err := s.deps.Temp.ClearForms(toTheEnd(c), a.userID)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, TempCount{Cleared: n})
}
