package api_test

import (
	"os"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func readContract(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

func parseContract(t *testing.T, source string) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestContractIsValid checks the document, and its examples and defaults against their schemas.
func TestContractIsValid(t *testing.T) {
	doc := parseContract(t, readContract(t))
	if !doc.IsOpenAPI31OrLater() {
		t.Errorf("openapi is %s, want 3.1", doc.OpenAPI)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
}

// TestContractExamplesAreChecked makes sure that TestContractIsValid would find a wrong example.
func TestContractExamplesAreChecked(t *testing.T) {
	for _, change := range []struct{ name, old, new string }{
		{"request", "type: system.maintenance", "type: System.Maintenance"},
		{"response", "subscribers: 2", "subscribers: two"},
		{"null", "next_cursor: null", "next_cursor: 7"},
		{"parameter", "example: user:123", "example: user:abc"},
		{"problem", "status: 413", "status: 200"},
	} {
		t.Run(change.name, func(t *testing.T) {
			source := readContract(t)
			broken := strings.Replace(source, change.old, change.new, 1)
			if broken == source {
				t.Fatalf("the contract has no %q", change.old)
			}
			if parseContract(t, broken).Validate(t.Context(), openapi3.EnableExamplesValidation()) == nil {
				t.Error("the wrong example passed")
			}
		})
	}
}

// TestContractNamesEveryRequest checks that no response lacks the header that names the request.
func TestContractNamesEveryRequest(t *testing.T) {
	for path, item := range parseContract(t, readContract(t)).Paths.Map() {
		for method, operation := range item.Operations() {
			for status, response := range operation.Responses.Map() {
				if header := response.Value.Headers["X-Request-ID"]; header == nil || !header.Value.Required {
					t.Errorf("%s %s %s has no X-Request-ID", method, path, status)
				}
			}
		}
	}
}

// TestContractListsEveryProblem checks that the problems of the examples are listed, each with one status and title, that
// each listed one has an example, and that the page has a place for it to point to.
func TestContractListsEveryProblem(t *testing.T) {
	doc := parseContract(t, readContract(t))
	page, err := os.ReadFile("docs.html")
	if err != nil {
		t.Fatal(err)
	}
	listed, _ := doc.Extensions["x-problems"].([]any)
	problems := make(map[any]map[string]any)
	for _, item := range listed {
		problem, _ := item.(map[string]any)
		problems[problem["code"]] = problem
		if code, _ := problem["code"].(string); !strings.Contains(string(page), `id="problem-`+code+`"`) {
			t.Errorf("docs.html has no place for %s: run go generate", code)
		}
	}
	shown := make(map[any]bool)
	for name, response := range doc.Components.Responses {
		media := response.Value.Content["application/problem+json"]
		if media == nil {
			continue
		}
		examples := []any{media.Example}
		for _, example := range media.Examples {
			examples = append(examples, example.Value.Value)
		}
		for _, item := range examples {
			example, ok := item.(map[string]any)
			if !ok {
				continue
			}
			code := example["code"]
			shown[code] = true
			switch problem := problems[code]; {
			case problem == nil:
				t.Errorf("%s: x-problems does not list %v", name, code)
			case problem["status"] != example["status"], problem["title"] != example["title"]:
				t.Errorf("%s: the example of %v has another status or title than x-problems", name, code)
			}
		}
	}
	for code := range problems {
		if !shown[code] {
			t.Errorf("%v has no example", code)
		}
	}
}
