package api

import (
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// reports puts into the log what package http reports line by line. Mostly it is what clients do wrong, such as handshakes that
// fail: everybody can make any number of these, and they are told at debug level.
type reports struct{ log *zap.Logger }

// Write writes one line. It never fails.
func (r reports) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := zapcore.DebugLevel
	switch {
	case strings.HasPrefix(text, "http: Accept error: "):
		level = zapcore.WarnLevel // Such as too many open files.
	case strings.HasPrefix(text, "http: panic serving "), strings.HasPrefix(text, "http2: panic serving "):
		level = zapcore.ErrorLevel
	}
	if entry := r.log.Check(level, "package http reports"); entry != nil {
		entry.Write(zap.String("report", text))
	}
	return len(line), nil
}
