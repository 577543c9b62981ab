package javaclient

import "github.com/go-json-experiment/json/jsontext"

// Call is what goes along with a call, in headers: whose request it is for, and its trace. All of it may be empty, and
// what is no visible ASCII is not sent.
type Call struct {
	// RequestID is sent as X-Request-ID.
	RequestID string
	// Traceparent and Tracestate are those of W3C Trace Context.
	Traceparent, Tracestate string
}

// CallName names a call in numbers.
type CallName string

// The calls, but for those to the service's health.
const (
	CallSimple       CallName = "simple"
	CallInterest     CallName = "interest"
	CallSecretCoffee CallName = "secret_coffee"
	CallFromAPI      CallName = "from_api"
	CallTournament   CallName = "tournament"
	CallTeams        CallName = "teams"
	CallAlgorithms   CallName = "algorithms"
)

// SecretCoffee asks for pairs among employees.
type SecretCoffee struct {
	RequestID string `json:"requestId,omitzero"`
	// Params is a JSON object, or nil.
	Params    jsontext.Value `json:"algorithmParams,omitzero"`
	Employees []Employee     `json:"employees"`
}

// FromAPI asks for pairs among the employees whom the service finds itself.
type FromAPI struct {
	// Algorithm is one of Client.Algorithms, or empty.
	Algorithm string `json:"algorithm_type,omitzero"`
	// Other holds what selects the employees, such as department_ids and business_center.
	Other jsontext.Value `json:",embed"`
}

// Tournament asks for a bracket.
type Tournament struct {
	Players  []Player `json:"participants"`
	GameType string   `json:"game_type,omitzero"`
	Format   string   `json:"format,omitzero"`
	Rounds   int      `json:"rounds,omitzero"`
}

// Player is somebody who plays in a tournament.
type Player struct {
	// ID is above 0.
	ID          int64          `json:"id"`
	Name        Text           `json:"name,omitzero"`
	Department  Text           `json:"department,omitzero"`
	Rating      float64        `json:"rating,omitzero"`
	GamesPlayed int            `json:"games_played,omitzero"`
	Other       jsontext.Value `json:",embed"`
}

// Bracket is a tournament's first or all matches.
type Bracket struct {
	// Matches are JSON objects, as the service made them.
	Matches []jsontext.Value `json:"matches"`
}

// Teams asks for teams.
type Teams struct {
	Members []Member `json:"participants"`
	// Size is how many members a team has; Max how many teams there may be, 0 for any number.
	Size    int  `json:"team_size"`
	Max     int  `json:"max_teams,omitzero"`
	Balance bool `json:"balance_skills,omitzero"`
}

// Member is somebody who is put into a team.
type Member struct {
	// ID is above 0.
	ID         int64          `json:"id"`
	Name       Text           `json:"name,omitzero"`
	Department Text           `json:"department,omitzero"`
	Skills     []string       `json:"skills,omitempty"`
	Interests  []string       `json:"interests,omitempty"`
	Other      jsontext.Value `json:",embed"`
}

// Team is one team.
type Team struct {
	// Members are ids.
	Members []int64        `json:"members"`
	Other   jsontext.Value `json:",embed"`
}

// Result are the pairs that the service found.
type Result struct {
	// RequestID is what the service calls the request, or empty.
	RequestID string
	// Algorithm is what it used, or empty.
	Algorithm string
	// Pairs are those that it calls valid, or of which it says nothing. Both ids are above 0 and differ.
	Pairs []Pair
	// Unmatched are the ids of those without a partner; nil when the service does not tell.
	Unmatched []int64
	// Meta is a JSON object, or nil.
	Meta jsontext.Value
}

// Pair are two who meet.
type Pair struct {
	Employee1ID int64 `json:"employee1_id"`
	Employee2ID int64 `json:"employee2_id"`
	// Employee1 and Employee2 are nil when the service tells ids only. A member that is of another type is left out.
	Employee1 *Employee `json:"employee1,omitzero"`
	Employee2 *Employee `json:"employee2,omitzero"`
}
