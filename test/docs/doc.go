// Package docs tests what the documents say against what there is: calls against the contract, settings against
// .env.example, tests and alerts by their names. The commands that the documents show are run in test/clients.
package docs
