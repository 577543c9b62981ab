package javaclient

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// toldID is an id: an integer that is written without a fraction, or a string of its digits. null is 0.
type toldID int64

// UnmarshalJSONFrom reads any of them.
func (id *toldID) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	value, err := dec.ReadValue()
	if err != nil || value.Kind() == 'n' {
		return err
	}
	digits := []byte(value)
	if value.Kind() == '"' {
		digits = digits[1 : len(digits)-1]
	}
	if len(digits) == 0 || len(bytes.Trim(digits, "0123456789")) > 0 {
		return errNotUnderstood
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return errNotUnderstood
	}
	*id = toldID(n)
	return nil
}

// person is an id that may be written as an employee.
type person int64

// UnmarshalJSONFrom reads either.
func (p *person) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '{' {
		return (*toldID)(p).UnmarshalJSONFrom(dec)
	}
	var employee struct {
		ID toldID `json:"id"`
	}
	err := json.UnmarshalDecode(dec, &employee)
	*p = person(employee.ID)
	return err
}
