package matching

import (
	"context"
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// ask asks the service for pairs, and believes it only what can be true.
func (m *Matcher) ask(ctx context.Context, call javaclient.Call, r *PairRequest) (Pairs, error) {
	call.RequestID = r.RequestID
	var result javaclient.Result
	var err error
	switch r.Method {
	case Interest:
		result, err = m.cfg.Client.Interest(ctx, call, r.Interest, r.Employees)
	case SecretCoffee:
		var params jsontext.Value
		if params, err = r.algorithmParams(); err == nil {
			result, err = m.cfg.Client.SecretCoffee(ctx, call, javaclient.SecretCoffee{
				RequestID: r.RequestID, Params: params, Employees: r.Employees,
			})
		}
	default:
		result, err = m.cfg.Client.Simple(ctx, call, r.Employees)
	}
	var problem *javaclient.Error
	if errors.As(err, &problem) && ofService(problem.Code) && problem.Code != javaclient.CodeBreakerOpen {
		m.failure.Store(&problem.Code)
	}
	if err != nil {
		return Pairs{}, err
	}
	return r.answer(&result)
}

// cause is what is told of a failure of the service. That it was left alone says little without why.
func (m *Matcher) cause(problem *javaclient.Error) Failure {
	failure := failureOf(problem)
	if last := m.failure.Load(); problem.Code == javaclient.CodeBreakerOpen && last != nil {
		failure.Detail = "It was not asked, as it failed lately: " + string(*last) + "."
	}
	return failure
}

// algorithmParams adds the algorithm to the parameters, under the name that from-api knows it by.
func (r *PairRequest) algorithmParams() (jsontext.Value, error) {
	if r.Algorithm == "" {
		return r.Params, nil
	}
	params := map[string]jsontext.Value{}
	if firstKind(r.Params) == '{' {
		if err := json.Unmarshal(r.Params, &params); err != nil {
			return nil, err
		}
	}
	name, err := jsontext.AppendQuote(nil, r.Algorithm)
	if err != nil {
		return nil, err
	}
	params["algorithm_type"] = name
	return json.Marshal(params, json.Deterministic(true))
}

// name is a name that the service gives, "" if it is longer than a name should be.
func name(text string) string {
	if len(text) > MaxNameSize {
		return ""
	}
	return text
}

// errStranger is the cause when the service pairs somebody who did not take part.
var errStranger = errors.New("somebody in the answer is not in the request")

// answer makes the answer of a result, with the employees as the request has them where the service tells ids only.
func (r *PairRequest) answer(result *javaclient.Result) (Pairs, error) {
	position := make(map[int64]int, len(r.Employees))
	for i := range r.Employees {
		position[r.Employees[i].ID] = i
	}
	paired := make([]bool, len(r.Employees))
	describe := func(id int64, told *javaclient.Employee) (*javaclient.Employee, bool) {
		i, known := position[id]
		if !known || paired[i] {
			return nil, false
		}
		paired[i] = true
		if told == nil {
			told = r.described(i)
		}
		return told, true
	}
	for i := range result.Pairs {
		p := &result.Pairs[i]
		var ok1, ok2 bool
		p.Employee1, ok1 = describe(p.Employee1ID, p.Employee1)
		p.Employee2, ok2 = describe(p.Employee2ID, p.Employee2)
		if !ok1 || !ok2 {
			return Pairs{}, &javaclient.Error{Code: javaclient.CodeMalformed, Err: errStranger}
		}
	}
	answer := Pairs{
		Origin: Origin{RequestID: r.RequestID, Source: Java, Algorithm: name(result.Algorithm)},
		Pairs:  notNil(result.Pairs), Unmatched: []int64{}, Meta: result.Meta,
	}
	for i, done := range paired {
		if !done {
			answer.Unmatched = append(answer.Unmatched, r.Employees[i].ID)
		}
	}
	return answer, nil
}

// described is an employee of the request, nil if nothing but the id is known.
func (r *PairRequest) described(i int) *javaclient.Employee {
	e := &r.Employees[i]
	if e.DisplayName == "" && e.Department == "" && e.Position == "" && e.Username == "" && e.Number == "" &&
		e.BusinessCode == "" && e.Grade == "" && len(e.Interests) == 0 && len(e.Excluded) == 0 &&
		e.Preferences == nil && e.Active == nil && len(e.Other) == 0 {
		return nil
	}
	return e
}

// left returns who is in no team, and an error when the service's teams cannot be.
func (r *teamsRequest) left(teams []javaclient.Team) ([]int64, error) {
	waiting := make(map[int64]bool, len(r.Members))
	for i := range r.Members {
		waiting[r.Members[i].ID] = true
	}
	for _, team := range teams {
		for _, id := range team.Members {
			if !waiting[id] {
				return nil, &javaclient.Error{Code: javaclient.CodeMalformed, Err: errStranger}
			}
			delete(waiting, id)
		}
	}
	left := []int64{}
	for i := range r.Members {
		if id := r.Members[i].ID; waiting[id] {
			left = append(left, id)
		}
	}
	return left, nil
}
