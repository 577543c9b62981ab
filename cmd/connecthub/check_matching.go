package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/connectbot-hub/connecthub/api"
)

// matchingPatience is how long a step of matching may take: the hub gives the Java service up to 25 s.
const matchingPatience = 35 * time.Second

// The ids of the people who are matched lie just below that of nobody, and there are so many.
const (
	checkPeopleFrom = nobody - 6
	checkPeople     = 4
)

// matchingCheck has people matched who do not exist, so that nobody is told of it.
type matchingCheck struct{ client hubClient }

func newMatchingCheck(client *hubClient) *matchingCheck {
	patient := *client
	patient.patience = matchingPatience
	return &matchingCheck{patient}
}

func (c *matchingCheck) steps() []step {
	return []step{
		{"matching", "list the algorithms", c.algorithms},
		{"matching", "pair four people, so that nobody is forgotten", c.pair},
	}
}

// byTheHub is the note that the Java service was not there.
const byTheHub = "degraded: the Java service is away"

func (c *matchingCheck) algorithms(ctx context.Context) (note string, err error) {
	var list api.MatchingAlgorithms
	if err := c.client.call(ctx, http.MethodGet, "/v1/matching/algorithms", nil, nil, &list); err != nil {
		return "", err
	}
	if len(list.Algorithms) == 0 || list.Total != len(list.Algorithms) {
		return "", fmt.Errorf("%d are listed, and the total is said to be %d", len(list.Algorithms), list.Total)
	}
	if list.Degraded {
		note = byTheHub
	}
	return note, nil
}

func (c *matchingCheck) pair(ctx context.Context) (note string, err error) {
	type employee struct {
		ID         int64  `json:"id"`
		Name       string `json:"displayName"`
		Department string `json:"department"`
		Active     bool   `json:"activeEmployee"`
	}
	var people []employee
	missing := map[int64]bool{}
	for i := range int64(checkPeople) {
		id := int64(checkPeopleFrom) + i
		people = append(people, employee{id, "connecthub check", []string{"A", "B"}[i%2], true})
		missing[id] = true
	}
	body, err := json.Marshal(people)
	if err != nil {
		return "", err
	}
	var answer api.MatchingPairs
	if err := c.client.call(ctx, http.MethodPost, "/v1/matching/coffee/simple", nil, body, &answer); err != nil {
		return "", err
	}
	named := answer.UnmatchedEmployees
	for _, p := range answer.Pairs {
		named = append(named, p.Employee1ID, p.Employee2ID)
	}
	for _, id := range named {
		if !missing[id] {
			return "", errors.New("somebody is named twice, or did not take part")
		}
		delete(missing, id)
	}
	switch {
	case len(missing) > 0:
		return "", fmt.Errorf("%d of %d people are forgotten", len(missing), checkPeople)
	case answer.Degraded:
		note = byTheHub + ", the hub has matched them"
	}
	return note, nil
}
