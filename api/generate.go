package api

// openapi.yaml is the source: the models and the parameter binding of the handlers are made from it, and so is the page
// that /docs serves. After a change of it run "make generate" and commit what it wrote.

//go:generate go tool -modfile=../tools/go.mod oapi-codegen -config oapi-codegen.yaml openapi.yaml
//go:generate go run ./internal/docgen
