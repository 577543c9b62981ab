package menucache

import (
	"fmt"
	"strconv"
	"strings"
)

// DefinitionsError says what is wrong with a definitions file. It has at least one fault, and all that were found.
type DefinitionsError struct{ Faults []Fault }

// Fault is one thing that is wrong with a definitions file.
type Fault struct {
	// Line is where, from 1; 0 if it cannot be said.
	Line int
	// Menu is the type of the menu, "" for what is in none.
	Menu string
	// Problem says what is wrong, and with which option.
	Problem string
}

// String says where and what: line 12, menu main: option profile has no label in ru.
func (f Fault) String() string {
	var where []string
	if f.Line > 0 {
		where = append(where, "line "+strconv.Itoa(f.Line))
	}
	if f.Menu != "" {
		where = append(where, "menu "+f.Menu)
	}
	if where == nil {
		return f.Problem
	}
	return strings.Join(where, ", ") + ": " + f.Problem
}

// Error lists the faults, one in a line, the first hundred of them.
func (e *DefinitionsError) Error() string {
	const most = 100
	lines := make([]string, 0, min(len(e.Faults), most)+1)
	for i, f := range e.Faults {
		if i == most {
			lines = append(lines, fmt.Sprintf("and %d more", len(e.Faults)-most))
			break
		}
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}
