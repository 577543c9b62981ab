package javaclient

import (
	"cmp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// told is an answer with pairs: MatchingResult, MatchingResponse, and what the published contract says instead.
type told struct {
	RequestID      Text           `json:"requestId"`
	RequestID2     Text           `json:"request_id"`
	TransactionID  Text           `json:"transaction_id"`
	Status         Text           `json:"status"`
	Error          Text           `json:"error"`
	Message        Text           `json:"message"`
	Algorithm      Text           `json:"algorithm"`
	Pairs          toldPairs      `json:"pairs"`
	Unmatched      toldPeople     `json:"unmatched"`
	UnmatchedByIDs toldPeople     `json:"unmatched_employees"`
	Meta           jsontext.Value `json:"meta"`
}

// toldPair names its people by id, in full, or both.
type toldPair struct {
	ID1       *toldID   `json:"employee1_id"`
	ID2       *toldID   `json:"employee2_id"`
	Employee1 *Employee `json:"employee1"`
	Employee2 *Employee `json:"employee2"`
	Valid     *bool     `json:"valid"`
}

// readResult decodes an answer with pairs.
func readResult(body []byte) (Result, error) {
	told, err := decode[told](body)
	if err != nil {
		return Result{}, err
	}
	if failed := told.failure(); failed != nil {
		return Result{}, failed
	}
	if told.Pairs == nil {
		return Result{}, errNotUnderstood
	}
	r := Result{
		RequestID: string(cmp.Or(told.RequestID, told.RequestID2, told.TransactionID)),
		Algorithm: string(told.Algorithm),
		Pairs:     make([]Pair, 0, len(told.Pairs)),
		Meta:      object(told.Meta),
	}
	paired := make(map[int64]bool, 2*len(told.Pairs))
	for i := range told.Pairs {
		one := &told.Pairs[i]
		if one.invalid() {
			continue
		}
		pair, ok := one.pair()
		if !ok || paired[pair.Employee1ID] || paired[pair.Employee2ID] {
			return Result{}, errNotUnderstood
		}
		paired[pair.Employee1ID], paired[pair.Employee2ID] = true, true
		r.Pairs = append(r.Pairs, pair)
	}
	var ok bool
	if r.Unmatched, ok = told.unmatched(paired); !ok {
		return Result{}, errNotUnderstood
	}
	return r, nil
}

// failure is what a MatchingResponse means that is an error in spite of its HTTP status, and nil for any other. One that is
// not known is taken for the service's own.
func (t *told) failure() *Error {
	if code := sourceCode(t.Error); code != "" {
		return &Error{Code: code}
	}
	if t.Status == "" || strings.EqualFold(string(t.Status), "ok") {
		return nil
	}
	return &Error{Code: CodeServerError, Message: cmp.Or(printable(string(t.Message)), printable(string(t.Error)))}
}

// unmatched returns the ids that both lists hold and those of invalid pairs, each once. It is nil when there is no list,
// even when there are invalid pairs: those alone might be taken for all. It fails when somebody is in a pair all the same.
func (t *told) unmatched(paired map[int64]bool) (ids []int64, ok bool) {
	if t.Unmatched == nil && t.UnmatchedByIDs == nil {
		return nil, true
	}
	ids = []int64{}
	seen := make(map[int64]bool)
	add := func(id int64) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, list := range []toldPeople{t.Unmatched, t.UnmatchedByIDs} {
		for _, one := range list {
			if one < 1 || paired[int64(one)] {
				return nil, false
			}
			add(int64(one))
		}
	}
	for i := range t.Pairs {
		if one := &t.Pairs[i]; one.invalid() {
			for _, id := range one.ids() {
				if id > 0 && !paired[id] {
					add(id)
				}
			}
		}
	}
	return ids, true
}

func (p *toldPair) invalid() bool { return p.Valid != nil && !*p.Valid }

// ids returns every id that the pair names, some of them twice.
func (p *toldPair) ids() []int64 {
	var ids []int64
	for _, id := range []*toldID{p.ID1, p.ID2} {
		if id != nil {
			ids = append(ids, int64(*id))
		}
	}
	for _, employee := range []*Employee{p.Employee1, p.Employee2} {
		if employee != nil {
			ids = append(ids, employee.ID)
		}
	}
	return ids
}

// pair returns the pair if it is two different people, and what is said twice of them is the same.
func (p *toldPair) pair() (Pair, bool) {
	id1, ok1 := sameID(p.ID1, p.Employee1)
	id2, ok2 := sameID(p.ID2, p.Employee2)
	return Pair{id1, id2, p.Employee1, p.Employee2}, ok1 && ok2 && id1 != id2
}

func sameID(told *toldID, employee *Employee) (int64, bool) {
	switch {
	case employee == nil && told == nil, employee != nil && told != nil && int64(*told) != employee.ID:
		return 0, false
	case told != nil:
		return int64(*told), *told > 0
	}
	return employee.ID, employee.ID > 0
}
