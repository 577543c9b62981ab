package javaclient

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decoder reads answers. Text in a broken encoding is mended and members that are not known are ignored; one that is there
// twice is not understood. A value is nested at most as deep as package jsontext allows, 10,000 levels.
type decoder struct{ plain, lenient json.Options }

func newDecoder() decoder {
	plain := jsontext.AllowInvalidUTF8(true)
	return decoder{plain, json.JoinOptions(plain, json.WithUnmarshalers(json.UnmarshalFromFunc(readID)))}
}

// decode reads an answer in which numbers of 64 bits, which all are ids here, may be strings of digits. As these are rare
// and cost half as much again, it tries without them first.
func decode[T any](d *decoder, body []byte) (told T, err error) {
	if json.Unmarshal(body, &told, d.plain) == nil {
		return told, nil
	}
	told = *new(T)
	if json.Unmarshal(body, &told, d.lenient) != nil {
		return told, errNotUnderstood
	}
	return told, nil
}

// readID reads an integer that is written without a fraction, or a string of such.
func readID(dec *jsontext.Decoder, id *int64) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if kind := token.Kind(); kind != '0' && kind != '"' {
		return errNotUnderstood
	}
	text := token.String()
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return errNotUnderstood
	}
	if *id, err = strconv.ParseInt(text, 10, 64); err != nil {
		return errNotUnderstood
	}
	return nil
}

// algorithms decodes the answer to Client.Algorithms.
func (c *Client) algorithms(body []byte) ([]string, error) {
	const most, longest = 100, 128
	told, err := decode[struct {
		Algorithms *[]string `json:"algorithms"`
	}](&c.decoder, body)
	if err != nil || told.Algorithms == nil || len(*told.Algorithms) > most {
		return nil, errNotUnderstood
	}
	for _, name := range *told.Algorithms {
		if name == "" || len(name) > longest {
			return nil, errNotUnderstood
		}
	}
	return *told.Algorithms, nil
}

// maxMatches bounds the matches of a bracket.
const maxMatches = 100_000

// bracket decodes the answer to Client.Tournament.
func (c *Client) bracket(body []byte) (Bracket, error) {
	told, err := decode[struct {
		Matches *[]jsontext.Value `json:"matches"`
	}](&c.decoder, body)
	if err != nil || told.Matches == nil || len(*told.Matches) > maxMatches {
		return Bracket{}, errNotUnderstood
	}
	for _, match := range *told.Matches {
		if match.Kind() != '{' {
			return Bracket{}, errNotUnderstood
		}
	}
	return Bracket{*told.Matches}, nil
}

// teams decodes the answer to Client.Teams.
func (c *Client) teams(body []byte) ([]Team, error) {
	told, err := decode[struct {
		Teams *[]Team `json:"teams"`
	}](&c.decoder, body)
	if err != nil || told.Teams == nil {
		return nil, errNotUnderstood
	}
	seen := make(map[int64]bool)
	for _, team := range *told.Teams {
		if len(team.Members) == 0 {
			return nil, errNotUnderstood
		}
		for _, id := range team.Members {
			if id < 1 || seen[id] {
				return nil, errNotUnderstood
			}
			seen[id] = true
		}
	}
	return *told.Teams, nil
}

// object returns a value that is a JSON object, and nil for any other.
func object(value jsontext.Value) jsontext.Value {
	if value.Kind() != '{' {
		return nil
	}
	return bytes.Clone(value)
}
