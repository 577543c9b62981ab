package javaclient

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maybe is a value that stays empty when JSON has one of another type.
type maybe[T any] struct{ value T }

// UnmarshalJSONFrom reads any value.
func (m *maybe[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	value, err := dec.ReadValue()
	if err != nil {
		return err
	}
	if json.Unmarshal(value, &m.value) != nil {
		m.value = *new(T)
	}
	return nil
}

// readEmployee reads an employee whose ids may be strings, and leaves out what is of another type: two people who may meet
// are worth more than what is said of them. Only the id must be one.
func readEmployee(dec *jsontext.Decoder, employee *Employee) error {
	var told struct {
		ID           toldID              `json:"id"`
		DisplayName  maybe[Text]         `json:"displayName"`
		Department   maybe[Text]         `json:"department"`
		Position     maybe[Text]         `json:"position"`
		BusinessCode maybe[Text]         `json:"businessCode"`
		Number       maybe[Text]         `json:"employeeNumber"`
		Username     maybe[Text]         `json:"username"`
		Interests    maybe[[]string]     `json:"interests"`
		Active       maybe[*bool]        `json:"activeEmployee"`
		Grade        maybe[string]       `json:"grade"`
		Excluded     maybe[toldIDs]      `json:"excluded_partners"`
		Preferences  maybe[*Preferences] `json:"preferences"`
		Other        jsontext.Value      `json:",embed"`
	}
	if err := json.UnmarshalDecode(dec, &told); err != nil {
		return err
	}
	*employee = Employee{
		ID:           int64(told.ID),
		DisplayName:  told.DisplayName.value,
		Department:   told.Department.value,
		Position:     told.Position.value,
		BusinessCode: told.BusinessCode.value,
		Number:       told.Number.value,
		Username:     told.Username.value,
		Interests:    told.Interests.value,
		Active:       told.Active.value,
		Grade:        told.Grade.value,
		Excluded:     told.Excluded.value,
		Preferences:  told.Preferences.value,
		Other:        told.Other,
	}
	return nil
}
