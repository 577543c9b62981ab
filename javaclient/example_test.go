package javaclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/connectbot-hub/connecthub/javaclient"
)

func Example() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/matching/coffee/simple" {
			_, _ = w.Write([]byte(`{"pairs":[{"employee1":{"id":1},"employee2":{"id":3},"valid":true}],"unmatched":[{"id":2}]}`))
			return
		}
		http.Error(w, "no bracket for so few", http.StatusBadRequest)
	}))
	defer service.Close()

	client, err := javaclient.New(javaclient.Config{URL: service.URL, Token: "from-the-environment", Timeout: 5 * time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	ctx := context.Background()
	call := javaclient.Call{RequestID: "7f1c"}
	result, err := client.Simple(ctx, call, []javaclient.Employee{{ID: 1}, {ID: 2}, {ID: 3}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, pair := range result.Pairs {
		fmt.Println(pair.Employee1ID, "meets", pair.Employee2ID)
	}
	fmt.Println("without a partner:", result.Unmatched)

	_, err = client.Tournament(ctx, call, javaclient.Tournament{Players: []javaclient.Player{{ID: 1}}})
	if failed := (*javaclient.Error)(nil); errors.As(err, &failed) {
		switch failed.Code {
		case javaclient.CodeRefused:
			fmt.Println("refused:", failed.Message)
		case javaclient.CodeBreakerOpen, javaclient.CodeBusy, javaclient.CodeOverloaded:
			fmt.Println("later, after", failed.RetryAfter)
		default:
			fmt.Println(failed)
		}
	}
	// Output:
	// 1 meets 3
	// without a partner: [2]
	// refused: no bracket for so few
}
