package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// auditSettings say where the audit log goes.
type auditSettings struct {
	AuditLogFile string `setting:"AUDIT_LOG_FILE" placeholder:"FILE" help:"What was administered, and by whom: a JSON line each is appended to it. It is opened anew on SIGHUP. Unset: in the log, or, by the commands for keys, nowhere."`
}

// auditLog writes what was administered: every line, whatever the level of the log, and never a sample. It is safe for
// concurrent use.
type auditLog struct {
	*zap.Logger
	core    zapcore.Core
	log     *zap.Logger
	version string
	file    *auditFile // nil when the lines go to the log
	unhook  func()

	mu     sync.Mutex
	counts map[string]int64
}

// openAudit opens the audit log, which is the core unless a file is set. What is wrong with the file is told to the log. Close it.
func (c *auditSettings) openAudit(core zapcore.Core, log *zap.Logger, version string) (*auditLog, error) {
	l := &auditLog{log: log, version: version, counts: map[string]int64{}}
	if c.AuditLogFile != "" {
		l.file = &auditFile{path: c.AuditLogFile, log: log}
		if err := l.file.reopen(); err != nil {
			return nil, &settingError{"AUDIT_LOG_FILE", "cannot be written: " + err.Error()}
		}
		core = zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{
			TimeKey: "time", MessageKey: "action", EncodeTime: zapcore.RFC3339NanoTimeEncoder, LineEnding: zapcore.DefaultLineEnding,
		}), l.file, zapcore.InfoLevel)
	}
	l.core = core
	l.Logger = zap.New(core, zap.Hooks(l.count), zap.ErrorOutput(zapcore.AddSync(io.Discard))).Named("audit")
	return l, nil
}

// record writes a line and says whether that could be done, which a Logger does not.
func (l *auditLog) record(action string, fields ...zap.Field) error {
	return l.core.Write(zapcore.Entry{Level: zapcore.InfoLevel, Time: time.Now(), Message: action}, fields)
}

// count counts a line by its action, of which there are a few.
func (l *auditLog) count(entry zapcore.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[entry.Message]++
	return nil
}

// Counts returns how many lines of each action were written.
func (l *auditLog) Counts() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}

// start writes that the hub starts, and opens the file anew on each SIGHUP until stop.
func (l *auditLog) start(context.Context) error {
	if l.file != nil {
		l.unhook = onHangup(func() {
			if err := l.file.reopen(); err != nil {
				l.log.Error("the audit log cannot be opened anew, what was open is used", zap.Error(err))
				return
			}
			l.log.Info("the audit log was opened anew")
			l.Info("audit_log_opened", zap.String("outcome", "done"))
		})
	}
	l.Info("hub_started", zap.String("version", l.version), zap.String("outcome", "done"))
	return nil
}

// stop writes that the hub has stopped, and ends what start began.
func (l *auditLog) stop() {
	if l.unhook != nil {
		l.unhook()
	}
	l.Info("hub_stopped", zap.String("version", l.version), zap.String("outcome", "done"))
}

// close closes the file.
func (l *auditLog) close() {
	if l.file != nil {
		l.file.close()
	}
}

const (
	// slowestAudit is how long a line may take to be written into a pipe.
	slowestAudit = time.Second
	// stuckFor is how long no line waits any more after one that took longer.
	stuckFor = 10 * time.Second
)

// auditFile is a file that lines are appended to.
type auditFile struct {
	path string
	log  *zap.Logger

	mu   sync.Mutex
	file *os.File
	// stuck is when a line last took too long.
	stuck time.Time
}

// reopen opens the file of that name, and closes the one before, which may have been renamed. After an error the one before
// stays. A pipe must have a reader.
func (f *auditFile) reopen() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ENXIO) {
		return fmt.Errorf("nobody reads from the pipe %s", f.path)
	}
	if err != nil {
		return err
	}
	if info, err := file.Stat(); err != nil || info.IsDir() {
		_ = file.Close() // It is not used.
		return fmt.Errorf("%s is no file", f.path)
	}
	f.mu.Lock()
	before := f.file
	f.file = file
	f.mu.Unlock()
	if before != nil {
		_ = before.Close() // Each line was written at once.
	}
	return nil
}

// Write appends a line. One that cannot be written is not lost: the log has it.
func (f *auditFile) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	patience := slowestAudit
	if time.Since(f.stuck) < stuckFor {
		patience = 0 // Nobody waits again for who does not read.
	}
	_ = f.file.SetWriteDeadline(time.Now().Add(patience)) // Which only a pipe has.
	n, err := f.file.Write(line)
	if errors.Is(err, os.ErrDeadlineExceeded) && patience > 0 {
		f.stuck = time.Now()
	}
	if err != nil {
		f.log.Error("the audit log cannot be written", zap.Error(err), zap.ByteString("line", line))
	}
	return n, err
}

// Sync does nothing: a line is with the system once it is written.
func (f *auditFile) Sync() error { return nil }

func (f *auditFile) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.file.Close() // As above.
}

// onHangup calls f on each SIGHUP, one call at a time, until the function it returns is called, which waits for the last.
func onHangup(f func()) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	var work sync.WaitGroup
	work.Go(func() {
		for range hangup {
			f()
		}
	})
	var once sync.Once
	return func() {
		once.Do(func() {
			signal.Stop(hangup)
			close(hangup)
		})
		work.Wait()
	}
}
