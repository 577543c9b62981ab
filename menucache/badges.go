package menucache

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxBadges bounds how many badges a request gives.
	maxBadges = 64
	// maxBadge is the highest count.
	maxBadge = 999_999
	// longestBadge bounds a badge's name, in bytes: option keys of menus that callers set are longer than our own.
	longestBadge = 128
)

// ParseBadges reads counts as a query gives them: name:count, several with commas between them, such as
// meetings:3,users:12. A name is that of a badge or an option's key; whether there is one is for Render to say. There
// are at most 64, each from 0 to 999999. The error is an InvalidError of the field badges.
func (d *Definitions) ParseBadges(text string) (map[string]int, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	counts := map[string]int{}
	for part := range strings.SplitSeq(text, ",") {
		if len(counts) == maxBadges {
			return nil, invalidBadges(fmt.Sprintf("must be at most %d", maxBadges))
		}
		name, count, err := parseBadge(part)
		if err != nil {
			return nil, err
		}
		if _, ok := counts[name]; ok {
			return nil, invalidBadges(fmt.Sprintf("names %s twice", quoted(name)))
		}
		counts[name] = count
	}
	return counts, nil
}

func parseBadge(text string) (name string, count int, err error) {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return "", 0, invalidBadges("must be name:count, several with commas between them, such as meetings:3,users:12")
	}
	name = strings.TrimSpace(text[:colon])
	digits := strings.TrimSpace(text[colon+1:])
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n > maxBadge {
		return "", 0, invalidBadges(fmt.Sprintf("must give %s a whole number from 0 to %d", quoted(name), maxBadge))
	}
	if problem := checkBadge(name, int(n)); problem != "" {
		return "", 0, invalidBadges(problem)
	}
	return name, int(n), nil
}

// CheckBadges checks counts as a body gives them, by the rules of ParseBadges.
func (d *Definitions) CheckBadges(badges map[string]int) error {
	if len(badges) > maxBadges {
		return invalidBadges(fmt.Sprintf("must be at most %d", maxBadges))
	}
	var fields []FieldProblem
	for _, name := range slices.Sorted(maps.Keys(badges)) {
		if problem := checkBadge(name, badges[name]); problem != "" {
			fields = append(fields, FieldProblem{"badges", problem})
		}
	}
	if len(fields) > 0 {
		return &InvalidError{Fields: fields}
	}
	return nil
}

func checkBadge(name string, count int) (problem string) {
	switch {
	case isBlank(name):
		return "must name what each of them counts"
	case len(name) > longestBadge || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Sprintf("must have names of at most %d bytes of UTF-8 without control characters", longestBadge)
	case count < 0 || count > maxBadge:
		return fmt.Sprintf("must give %s a whole number from 0 to %d", quoted(name), maxBadge)
	}
	return ""
}

func invalidBadges(problem string) *InvalidError {
	return &InvalidError{Fields: []FieldProblem{{"badges", problem}}}
}

// knownBadges checks that each badge can be meant for this menu: by its name or by the key of one of the options, or of
// one that the menu has for other roles.
func (d *Definitions) knownBadges(m *menu, options []shownOption, badges map[string]int) error {
	var unknown []string
	for name := range badges {
		if slices.Contains(d.badges, name) || m != nil && m.option(name) != nil ||
			slices.ContainsFunc(options, func(o shownOption) bool { return o.Key == name }) {
			continue
		}
		unknown = append(unknown, quoted(name))
	}
	if unknown == nil {
		return nil
	}
	slices.Sort(unknown)
	known := slices.Clone(d.badges)
	for _, o := range options {
		if o.Key != "" && !slices.Contains(known, o.Key) {
			known = append(known, printable(o.Key))
		}
	}
	return invalidBadges(fmt.Sprintf("must not name %s: this menu has %s",
		strings.Join(unknown, ", "), strings.Join(known, ", ")))
}

// count returns the count of an option, 0 for none: that for its key, or else that for its badge.
func (m *menu) count(key string, badges map[string]int) int {
	if len(badges) == 0 {
		return 0
	}
	if n, ok := badges[key]; ok {
		return n
	}
	if m == nil {
		return 0
	}
	if o := m.option(key); o != nil && o.badge != "" {
		return badges[o.badge]
	}
	return 0
}

// appendCount puts a count behind a label.
func appendCount(label []byte, count int) []byte {
	if count == 0 {
		return label
	}
	return append(strconv.AppendInt(append(label, " ("...), int64(count), 10), ')')
}

// quoted makes a name fit to be repeated in an answer, in quotes.
func quoted(name string) string { return `"` + printable(name) + `"` }

// printable makes text fit to be repeated in an answer.
func printable(text string) string {
	const longest = 128
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
