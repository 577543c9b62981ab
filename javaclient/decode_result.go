package javaclient

import (
	"cmp"
	"strings"

	"github.com/go-json-experiment/json"
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
	Pairs          *[]toldPair    `json:"pairs"`
	Unmatched      *[]person      `json:"unmatched"`
	UnmatchedByIDs *[]person      `json:"unmatched_employees"`
	Meta           jsontext.Value `json:"meta"`
}

// toldPair names its people by id, in full, or both.
type toldPair struct {
	ID1       *int64    `json:"employee1_id"`
	ID2       *int64    `json:"employee2_id"`
	Employee1 *Employee `json:"employee1"`
	Employee2 *Employee `json:"employee2"`
	Valid     *bool     `json:"valid"`
}

// person is an id that may be written as an employee.
type person int64

// UnmarshalJSONFrom reads either.
func (p *person) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '{' {
		return json.UnmarshalDecode(dec, (*int64)(p))
	}
	var employee struct {
		ID int64 `json:"id"`
	}
	err := json.UnmarshalDecode(dec, &employee)
	*p = person(employee.ID)
	return err
}

// result decodes an answer with pairs.
func (c *Client) result(body []byte) (Result, error) {
	told, err := decode[told](&c.decoder, body)
	if err != nil {
		return Result{}, err
	}
	if strings.EqualFold(string(told.Status), "error") {
		return Result{}, told.failure()
	}
	if told.Pairs == nil {
		return Result{}, errNotUnderstood
	}
	r := Result{
		RequestID: string(cmp.Or(told.RequestID, told.RequestID2, told.TransactionID)),
		Algorithm: string(told.Algorithm),
		Pairs:     make([]Pair, 0, len(*told.Pairs)),
		Meta:      object(told.Meta),
	}
	paired := make(map[int64]bool, 2*len(*told.Pairs))
	for i := range *told.Pairs {
		one := &(*told.Pairs)[i]
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

// failure is what a MatchingResponse means that is an error in spite of its HTTP status. One that is not known is taken
// for the service's own.
func (t *told) failure() *Error {
	if code := sourceCode(t.Error); code != "" {
		return &Error{Code: code}
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
	for _, list := range []*[]person{t.Unmatched, t.UnmatchedByIDs} {
		if list == nil {
			continue
		}
		for _, one := range *list {
			if one < 1 || paired[int64(one)] {
				return nil, false
			}
			add(int64(one))
		}
	}
	for i := range *t.Pairs {
		if one := &(*t.Pairs)[i]; one.invalid() {
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
	for _, id := range []*int64{p.ID1, p.ID2} {
		if id != nil {
			ids = append(ids, *id)
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

func sameID(id *int64, employee *Employee) (int64, bool) {
	switch {
	case employee == nil && id == nil, employee != nil && id != nil && *id != employee.ID:
		return 0, false
	case id != nil:
		return *id, *id > 0
	}
	return employee.ID, employee.ID > 0
}
