package matching

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// Source says who matched.
type Source string

// The sources.
const (
	Java     Source = "java"
	Fallback Source = "fallback"
)

// Origin says where an answer comes from.
type Origin struct {
	// RequestID is the caller's id of the request, or one that was made.
	RequestID string `json:"request_id"`
	Source    Source `json:"source"`
	// Degraded is true when the hub matched, as the service was away.
	Degraded bool `json:"degraded"`
	// Reason is then why: a code of package javaclient.
	Reason javaclient.Code `json:"reason,omitzero"`
	// Algorithm is what was used, if that is known.
	Algorithm string `json:"algorithm,omitzero"`
	// Repeated says that this is the answer to an earlier request with the same key or the same people.
	Repeated bool `json:"-"`
}

// Pairs are who meets whom.
type Pairs struct {
	Origin
	Pairs []javaclient.Pair `json:"pairs"`
	// Unmatched are the ids of those without a partner, in the order of the request.
	Unmatched []int64 `json:"unmatched_employees"`
	// Meta is what else the service tells.
	Meta jsontext.Value `json:"meta,omitzero"`
}

// idsOnly takes out what is known of the people but their ids.
func (p *Pairs) idsOnly() {
	for i := range p.Pairs {
		p.Pairs[i].Employee1, p.Pairs[i].Employee2 = nil, nil
	}
	p.Meta = nil
}

// Bracket are the matches of a tournament.
type Bracket struct {
	Origin
	// Matches are objects: the service's own, or with round, match, participant1_id and participant2_id, which is
	// absent in a bye.
	Matches []jsontext.Value `json:"matches"`
}

// Teams are who plays with whom.
type Teams struct {
	Origin
	Teams []javaclient.Team `json:"teams"`
	// Unmatched are the ids of those without a team.
	Unmatched []int64 `json:"unmatched_employees"`
}

// Algorithms are those that may be asked for.
type Algorithms struct {
	Algorithms []string `json:"algorithms"`
	Total      int      `json:"total"`
	Source     Source   `json:"source"`
	// Degraded is true when the service is away: they are those it told last or, if it never did, those it is known for.
	Degraded bool `json:"degraded"`
}
