package matching

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// decodeEmployees reads what coffee/simple and coffee/interest take: employees, or an object with them.
func decodeEmployees(body []byte) (PairRequest, error) {
	if firstKind(body) == '[' {
		var list people[javaclient.Employee]
		if err := decode(body, &list, false); err != nil {
			return PairRequest{}, inList(err)
		}
		return PairRequest{Employees: list}, nil
	}
	var r struct {
		RequestID string                      `json:"request_id"`
		Employees people[javaclient.Employee] `json:"employees"`
	}
	if err := decode(body, &r, true); err != nil {
		return PairRequest{}, err
	}
	return PairRequest{RequestID: r.RequestID, Employees: r.Employees}, nil
}

// inList names the fields of a list that is the whole body as if it were the member employees.
func inList(err error) error {
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		for i := range invalid.Fields {
			if f := &invalid.Fields[i]; strings.HasPrefix(f.Field, "[") {
				f.Field = "employees" + f.Field
			}
		}
	}
	return err
}

// decodeSecretCoffee reads what secret-coffee takes, with the service's own names too.
func decodeSecretCoffee(body []byte) (PairRequest, error) {
	var r struct {
		RequestID  string                      `json:"request_id"`
		RequestID2 string                      `json:"requestId"`
		Algorithm  string                      `json:"algorithm"`
		Params     jsontext.Value              `json:"algorithm_params"`
		Params2    jsontext.Value              `json:"algorithmParams"`
		Employees  people[javaclient.Employee] `json:"employees"`
	}
	if err := decode(body, &r, true); err != nil {
		return PairRequest{}, err
	}
	if r.RequestID == "" {
		r.RequestID = r.RequestID2
	}
	if len(r.Params) == 0 {
		r.Params = r.Params2
	}
	return PairRequest{RequestID: r.RequestID, Algorithm: r.Algorithm, Params: r.Params, Employees: r.Employees}, nil
}

// decodeJob reads a request that is done as a job: of users of whom only the ids are known, of employees, or of both.
// A strict one has no members that are not known.
func decodeJob(body []byte, strict bool) (PairRequest, error) {
	var r struct {
		RequestID javaclient.Text             `json:"request_id"`
		Type      string                      `json:"type"`
		Algorithm string                      `json:"algorithm"`
		Interest  string                      `json:"interest"`
		Params    jsontext.Value              `json:"algorithm_params"`
		Users     people[userID]              `json:"users"`
		Employees people[javaclient.Employee] `json:"employees"`
	}
	if err := decode(body, &r, strict); err != nil {
		return PairRequest{}, err
	}
	request := PairRequest{
		RequestID: string(r.RequestID), Type: r.Type, Algorithm: r.Algorithm, Interest: r.Interest, Params: r.Params,
		Employees: r.Employees,
	}
	if request.Type == "" {
		request.Type = "coffee"
	}
	described := make(map[int64]bool, len(r.Employees))
	for _, e := range r.Employees {
		described[e.ID] = true
	}
	var wrong problems
	asked := make(map[int64]int, len(r.Users))
	for i, id := range r.Users {
		if first, twice := asked[int64(id)]; twice {
			wrong.add(fmt.Sprintf("users[%d]", i), fmt.Sprintf("is users[%d] too", first))
			continue
		}
		asked[int64(id)] = i
		if id <= 0 {
			wrong.add(fmt.Sprintf("users[%d]", i), errNoUserID.Error())
		}
		if !described[int64(id)] {
			request.Employees = append(request.Employees, javaclient.Employee{ID: int64(id)})
		}
	}
	if len(request.Employees) == 0 {
		wrong.add("users", "must name somebody, or employees must")
	}
	if err := wrong.err(); err != nil {
		return PairRequest{}, err
	}
	if len(request.Employees) > MaxPeople {
		return PairRequest{}, ErrTooMany
	}
	request.Method = request.method()
	return request, nil
}

// Algorithms that have calls of their own.
const (
	simpleRandom  = "SIMPLE_RANDOM"
	interestBased = "INTEREST_BASED"
	crossDepart   = "CROSS_DEPARTMENT"
)

// secretCoffeeType is the type that asks for the service's secret coffee.
const secretCoffeeType = "secret_coffee"

// method is the call of the service that a job comes to. An interest that nobody names is what the pairs are for.
func (r *PairRequest) method() Method {
	switch {
	case r.Algorithm == interestBased:
		if r.Interest == "" {
			r.Interest = r.Type
		}
		return Interest
	case r.Algorithm == simpleRandom:
		return Simple
	case r.Algorithm != "", len(r.Params) > 0, r.Type == secretCoffeeType:
		return SecretCoffee
	case r.Interest != "":
		return Interest
	}
	return Simple
}

// decodeFromAPI reads what from-api takes: whatever the service may know.
func decodeFromAPI(body []byte) (id string, request javaclient.FromAPI, err error) {
	var r struct {
		RequestID string         `json:"request_id"`
		Algorithm string         `json:"algorithm_type"`
		Other     jsontext.Value `json:",embed"`
	}
	if err := decode(body, &r, false); err != nil {
		return "", javaclient.FromAPI{}, err
	}
	return r.RequestID, javaclient.FromAPI{Algorithm: r.Algorithm, Other: r.Other}, nil
}

// tournamentRequest is what tournament takes.
type tournamentRequest struct {
	RequestID string                    `json:"request_id"`
	Players   people[javaclient.Player] `json:"participants"`
	GameType  string                    `json:"game_type"`
	Format    string                    `json:"format"`
	Rounds    int                       `json:"rounds"`
}

// teamsRequest is what teams takes.
type teamsRequest struct {
	RequestID string                    `json:"request_id"`
	Members   people[javaclient.Member] `json:"participants"`
	Size      int                       `json:"team_size"`
	Max       int                       `json:"max_teams"`
	Balance   bool                      `json:"balance_skills"`
}
