package matching

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// Limits of what is taken.
const (
	// MaxPeople bounds the people of one request.
	MaxPeople = 5000
	// MaxRequestSize bounds a request's JSON, in bytes.
	MaxRequestSize = 4 << 20
	// MaxNameSize bounds an interest, an algorithm, a type and a request's id, in bytes.
	MaxNameSize = 128
	// MaxPage bounds a page of a list.
	MaxPage = 1000
)

// Terms are what a caller says about a request beside its content.
type Terms struct {
	// Call goes along to the service. Its RequestID is the request's id if the request names none.
	Call javaclient.Call
	// IdempotencyKey, if not "", makes the same request, made again within a day, return the same.
	IdempotencyKey string
}

// Method is a call of the service that finds pairs.
type Method string

// The methods.
const (
	Simple       Method = "simple"
	Interest     Method = "interest"
	SecretCoffee Method = "secret_coffee"
)

// PairRequest asks for pairs among people who are named.
type PairRequest struct {
	// RequestID is the caller's id, or "".
	RequestID string `json:"request_id,omitzero"`
	// Type is what the pairs are for, such as coffee, lunch or chess.
	Type   string `json:"type,omitzero"`
	Method Method `json:"method"`
	// Algorithm is one of Matcher.Algorithms, or "".
	Algorithm string `json:"algorithm,omitzero"`
	// Interest is required by the Method Interest.
	Interest string `json:"interest,omitzero"`
	// Params is a JSON object for the Method SecretCoffee, or nil.
	Params jsontext.Value `json:"params,omitzero"`
	// Employees are 1 to MaxPeople with distinct ids.
	Employees []javaclient.Employee `json:"employees"`
}
