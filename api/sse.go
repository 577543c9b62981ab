package api

import (
	"strconv"
	"strings"
	"time"

	"github.com/connectbot-hub/connecthub/events"
)

// The frames of a stream of server-sent events, as the WHATWG HTML Standard has them ("9.2 Server-sent events").

// appendRetry tells the reader how long to wait before it connects again.
func appendRetry(dst []byte, wait time.Duration) []byte {
	dst = append(dst, "retry: "...)
	return append(strconv.AppendInt(dst, wait.Milliseconds(), 10), '\n')
}

// appendCursor tells the reader where it stands. Without data it makes no event, but readers remember it.
func appendCursor(dst []byte, stream *events.Stream) []byte {
	return append(stream.AppendCursor(append(dst, "id: "...)), '\n')
}

// appendEvent writes one event; text must not begin with a space or hold a line break, which JSON on one line does not.
func appendEvent(dst []byte, event, text string) []byte {
	dst = append(append(append(dst, "event: "...), event...), "\ndata: "...)
	return append(append(dst, text...), "\n\n"...)
}

// appendComment writes a line that readers ignore.
func appendComment(dst []byte, text string) []byte {
	text = strings.NewReplacer("\n", " ", "\r", " ").Replace(text)
	return append(append(append(dst, ':'), text...), "\n\n"...)
}
