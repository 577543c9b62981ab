package javaclient

import (
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

// Employee is somebody to be matched, as the service knows them. Members that are not named here go along in Other.
type Employee struct {
	// ID is above 0.
	ID           int64    `json:"id"`
	DisplayName  Text     `json:"displayName,omitzero"`
	Department   Text     `json:"department,omitzero"`
	Position     Text     `json:"position,omitzero"`
	BusinessCode Text     `json:"businessCode,omitzero"`
	Number       Text     `json:"employeeNumber,omitzero"`
	Username     Text     `json:"username,omitzero"`
	Interests    []string `json:"interests,omitempty"`
	// Active says whether the employee takes part. nil counts as true, and is sent so: the service would take it for false
	// in some calls.
	Active *bool `json:"activeEmployee,omitzero"`
	// Grade is JUNIOR, MIDDLE, SENIOR or LEAD, or empty.
	Grade       string       `json:"grade,omitzero"`
	Excluded    []int64      `json:"excluded_partners,omitempty"`
	Preferences *Preferences `json:"preferences,omitzero"`
	// Other holds the members that are not named above, as a JSON object.
	Other jsontext.Value `json:",embed"`
}

// Preferences are an employee's wishes.
type Preferences struct {
	// WithNewcomers asks for a newcomer.
	WithNewcomers bool `json:"with_newcomers,omitzero"`
	// Other holds the members that are not named above.
	Other jsontext.Value `json:",embed"`
}

// GradeJunior is the grade of newcomers.
const GradeJunior = "JUNIOR"

// Text is a string that may come as a JSON number or null: the bot sends the number of a department, of which the service
// makes a string. It is always sent as a string.
type Text string

// errNoText says what a Text may be; the value itself is not for errors.
var errNoText = errors.New("must be a string or a number")

// UnmarshalJSONFrom reads a string, a number as it is written, or null, which is empty.
func (t *Text) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	switch token.Kind() {
	case '"', '0':
		*t = Text(token.String())
		return nil
	case 'n':
		*t = ""
		return nil
	}
	return errNoText
}
