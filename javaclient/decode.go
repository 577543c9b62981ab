package javaclient

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decode reads an answer. Text in a broken encoding is mended and members that are not known are ignored; one that is there
// twice is not understood. A value is nested at most as deep as package jsontext allows, 10,000 levels, and a list that is
// too long is not read to its end.
func decode[T any](body []byte) (T, error) {
	told, err := read[T](body)
	if syntax := (*jsontext.SyntacticError)(nil); errors.As(err, &syntax) {
		// It may be the encoding. All of the answer is mended then, since parts of it are kept as they came.
		if mended, failed := jsontext.AppendFormat(nil, body, jsontext.AllowInvalidUTF8(true)); failed == nil {
			told, err = read[T](mended)
		}
	}
	switch {
	case err == nil:
		return told, nil
	case errors.Is(err, errTooLarge):
		return *new(T), &Error{Code: CodeTooLarge, Err: errTooLarge}
	}
	return *new(T), errNotUnderstood
}

// read reads employees as such first, and as readEmployee does when a type is wrong: that is rare, and takes thrice as long.
func read[T any](body []byte) (told T, err error) {
	if err = json.Unmarshal(body, &told); !wrongType(err) {
		return told, err
	}
	told = *new(T)
	err = json.Unmarshal(body, &told, json.WithUnmarshalers(json.UnmarshalFromFunc(readEmployee)))
	return told, err
}

// wrongType says whether JSON failed to be read because of a type for which this package has no reader of its own.
func wrongType(err error) bool {
	var semantic *json.SemanticError
	return errors.As(err, &semantic) && !errors.Is(err, errTooLarge) && !errors.Is(err, errNotUnderstood)
}

// readAlgorithms decodes the answer to Client.Algorithms.
func readAlgorithms(body []byte) ([]string, error) {
	const longest = 128
	told, err := decode[struct {
		Algorithms toldNames `json:"algorithms"`
	}](body)
	if err != nil {
		return nil, err
	}
	if told.Algorithms == nil {
		return nil, errNotUnderstood
	}
	for _, name := range told.Algorithms {
		if name == "" || len(name) > longest {
			return nil, errNotUnderstood
		}
	}
	return told.Algorithms, nil
}

// readBracket decodes the answer to Client.Tournament.
func readBracket(body []byte) (Bracket, error) {
	told, err := decode[struct {
		Matches toldMatches `json:"matches"`
	}](body)
	if err != nil {
		return Bracket{}, err
	}
	if told.Matches == nil {
		return Bracket{}, errNotUnderstood
	}
	for _, match := range told.Matches {
		if match.Kind() != '{' {
			return Bracket{}, errNotUnderstood
		}
	}
	return Bracket{told.Matches}, nil
}

// readTeams decodes the answer to Client.Teams.
func readTeams(body []byte) ([]Team, error) {
	told, err := decode[struct {
		Teams toldTeams `json:"teams"`
	}](body)
	if err != nil {
		return nil, err
	}
	if told.Teams == nil {
		return nil, errNotUnderstood
	}
	seen := make(map[int64]bool)
	for _, team := range told.Teams {
		for _, id := range team.Members {
			if id < 1 || seen[id] {
				return nil, errNotUnderstood
			}
			seen[id] = true
		}
	}
	return told.Teams, nil
}

// object returns a value that is a JSON object, and nil for any other.
func object(value jsontext.Value) jsontext.Value {
	if value.Kind() != '{' {
		return nil
	}
	return bytes.Clone(value)
}
