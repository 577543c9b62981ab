package matching

import (
	"fmt"
	"strings"
	"unicode"
)

// checkText checks a word that goes to the service and comes back in answers.
func (p *problems) checkText(field, text string) {
	if len(text) > MaxNameSize || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '�' }) {
		p.add(field, fmt.Sprintf("must have at most %d bytes of printable text", MaxNameSize))
	}
}

// checkRequestID checks the id that a caller gave a request, if any.
func (p *problems) checkRequestID(id string) {
	if id != "" && !validID(id) {
		p.add("request_id", fmt.Sprintf("must be 1 to %d characters of A-Z a-z 0-9 _ . : -, and not . or ..", MaxNameSize))
	}
}

// validID reports whether an id may be part of a key and of a path, where . and .. mean something else.
func validID(id string) bool {
	return id != "" && id != "." && id != ".." && len(id) <= MaxNameSize && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_.:-", r)
	})
}

// validLabel reports whether a text may be the correlation_id of an event.
func validLabel(text string) bool {
	return text != "" && len(text) <= MaxNameSize && !strings.ContainsFunc(text, unicode.IsControl)
}

// checkPeople checks the ids of n people.
func (p *problems) checkPeople(list string, n int, id func(int) int64) {
	if n == 0 {
		p.add(list, "must name somebody")
	}
	first := make(map[int64]int, n)
	for i := range n {
		id := id(i)
		other, twice := first[id]
		switch {
		case id <= 0:
			p.add(fmt.Sprintf("%s[%d].id", list, i), errNoUserID.Error())
		case twice:
			p.add(fmt.Sprintf("%s[%d].id", list, i), fmt.Sprintf("is the id of %s[%d] too", list, other))
		default:
			first[id] = i
		}
	}
}

// check checks what needs nobody to be asked.
func (r *PairRequest) check() error {
	var wrong problems
	wrong.checkRequestID(r.RequestID)
	wrong.checkText("type", r.Type)
	wrong.checkText("algorithm", r.Algorithm)
	wrong.checkText("interest", r.Interest)
	if r.Method == Interest && strings.TrimSpace(r.Interest) == "" {
		wrong.add("interest", "is required")
	}
	if kind := firstKind(r.Params); len(r.Params) > 0 && kind != '{' && kind != 'n' {
		wrong.add("algorithm_params", "must be an object")
	}
	wrong.checkPeople("employees", len(r.Employees), func(i int) int64 { return r.Employees[i].ID })
	return wrong.err()
}

func (r *tournamentRequest) check() error {
	const most = 10_000
	var wrong problems
	wrong.checkRequestID(r.RequestID)
	wrong.checkText("game_type", r.GameType)
	wrong.checkText("format", r.Format)
	if r.Rounds < 0 || r.Rounds > most {
		wrong.add("rounds", fmt.Sprintf("must be from 0 to %d", most))
	}
	wrong.checkPeople("participants", len(r.Players), func(i int) int64 { return r.Players[i].ID })
	return wrong.err()
}

func (r *teamsRequest) check() error {
	var wrong problems
	wrong.checkRequestID(r.RequestID)
	if r.Size < 1 || r.Size > MaxPeople {
		wrong.add("team_size", fmt.Sprintf("must be from 1 to %d", MaxPeople))
	}
	if r.Max < 0 || r.Max > MaxPeople {
		wrong.add("max_teams", fmt.Sprintf("must be from 0 to %d", MaxPeople))
	}
	wrong.checkPeople("participants", len(r.Members), func(i int) int64 { return r.Members[i].ID })
	return wrong.err()
}
