package javaclient

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// How long the lists of an answer may be. Without a bound, an answer of 16 MiB could become a hundred times as much.
const (
	// maxPairs is for pairs, and for those without a partner.
	maxPairs      = 10_000
	maxAlgorithms = 100
	maxMatches    = 100_000
	// maxMembers is for the members of all teams together.
	maxMembers = 10_000
)

// readEach has read called for each element of an array, and stops with errTooLarge when there are more than most.
func readEach(dec *jsontext.Decoder, most int, read func() error) error {
	if dec.PeekKind() != '[' {
		return errNotUnderstood
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for n := 0; dec.PeekKind() != ']'; n++ {
		if n == most {
			return errTooLarge
		}
		if err := read(); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// readList reads an array of at most so many elements, which is nil only for null.
func readList[T any](dec *jsontext.Decoder, list *[]T, most int) error {
	if dec.PeekKind() == 'n' {
		return dec.SkipValue()
	}
	*list = []T{}
	return readEach(dec, most, func() error {
		*list = append(*list, *new(T))
		return json.UnmarshalDecode(dec, &(*list)[len(*list)-1])
	})
}

type (
	toldPairs   []toldPair
	toldPeople  []person
	toldNames   []string
	toldMatches []jsontext.Value
)

// UnmarshalJSONFrom reads at most maxPairs.
func (l *toldPairs) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return readList(dec, (*[]toldPair)(l), maxPairs)
}

// UnmarshalJSONFrom reads at most maxPairs.
func (l *toldPeople) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return readList(dec, (*[]person)(l), maxPairs)
}

// UnmarshalJSONFrom reads at most maxAlgorithms.
func (l *toldNames) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return readList(dec, (*[]string)(l), maxAlgorithms)
}

// UnmarshalJSONFrom reads at most maxMatches.
func (l *toldMatches) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return readList(dec, (*[]jsontext.Value)(l), maxMatches)
}

// toldTeams are teams of which none is empty.
type toldTeams []Team

// UnmarshalJSONFrom reads teams of at most maxMembers together.
func (l *toldTeams) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == 'n' {
		return dec.SkipValue()
	}
	*l = toldTeams{}
	members := 0
	return readEach(dec, maxMembers, func() error {
		var team struct {
			Team
			Members toldIDs `json:"members"` // instead of Team's
		}
		if err := json.UnmarshalDecode(dec, &team); err != nil {
			return err
		}
		members += len(team.Members)
		switch {
		case len(team.Members) == 0:
			return errNotUnderstood
		case members > maxMembers:
			return errTooLarge
		}
		team.Team.Members = team.Members
		*l = append(*l, team.Team)
		return nil
	})
}

// toldIDs are ids, as the members of a team are.
type toldIDs []int64

// UnmarshalJSONFrom reads at most maxMembers.
func (l *toldIDs) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == 'n' {
		return dec.SkipValue()
	}
	return readEach(dec, maxMembers, func() error {
		var id toldID
		err := id.UnmarshalJSONFrom(dec)
		*l = append(*l, int64(id))
		return err
	})
}
