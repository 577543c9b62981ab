package tempdata

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// The scripts. Each says in its first lines what it does.
//
//nolint:gochecknoglobals // Constants, but for the language.
var (
	//go:embed index.lua
	indexSource string
	//go:embed condition.lua
	conditionSource string
	//go:embed put.lua
	putSource string
	//go:embed touch.lua
	touchSource string
	//go:embed restore.lua
	restoreSource string
	//go:embed clear.lua
	clearSource string
	//go:embed see.lua
	seeSource string
	//go:embed prune.lua
	pruneSource string
	//go:embed form.lua
	formSource string
	//go:embed botform.lua
	botFormSource string
	//go:embed restoreform.lua
	restoreFormSource string
	//go:embed restorebotform.lua
	restoreBotFormSource string
	//go:embed append.lua
	appendSource string
	//go:embed deletehistory.lua
	deleteHistorySource string
	//go:embed restorehistory.lua
	restoreHistorySource string

	putScript     = redis.NewScript(indexSource + conditionSource + putSource)
	touchScript   = redis.NewScript(indexSource + conditionSource + touchSource)
	restoreScript = redis.NewScript(indexSource + restoreSource)
	clearScript   = redis.NewScript(clearSource)
	seeScript     = redis.NewScript(indexSource + seeSource)
	pruneScript   = redis.NewScript(pruneSource)

	formScript           = redis.NewScript(indexSource + conditionSource + formSource)
	botFormScript        = redis.NewScript(indexSource + conditionSource + botFormSource)
	restoreFormScript    = redis.NewScript(indexSource + restoreFormSource)
	restoreBotFormScript = redis.NewScript(indexSource + restoreBotFormSource)
	appendScript         = redis.NewScript(indexSource + appendSource)
	deleteHistoryScript  = redis.NewScript(indexSource + deleteHistorySource)
	restoreHistoryScript = redis.NewScript(indexSource + restoreHistorySource)
)

// loadScripts lets the server know the scripts of the lanes. (In a pipeline Script.Load would forget their hashes.)
func loadScripts(ctx context.Context, rdb *redis.Client) error {
	for _, script := range []*redis.Script{
		putScript, touchScript, restoreScript, clearScript, formScript, botFormScript, restoreFormScript, restoreBotFormScript, appendScript,
		deleteHistoryScript, restoreHistoryScript,
	} {
		if err := script.Load(ctx, rdb).Err(); err != nil {
			return err
		}
	}
	return nil
}

var errReply = errors.New("tempdata: a script returned what it should not")

// Store keeps temporary data. It is safe for concurrent use, also by several processes with the same Redis and Prefix.
type Store struct {
	cfg    Config
	layout layout
	lanes  []*lane
	seed   maphash.Seed
	outage *outage
	watch  *watcher // nil unless Config.Django
	count  counters

	mu      sync.Mutex
	started bool
	stop    context.CancelFunc
	done    sync.WaitGroup
	pruned  map[string]uint64 // how far the lists of lists were pruned: cursors of SSCAN
}

// counters count what was done since the Store was made.
type counters struct {
	reads, writes, deletes, refused          atomic.Int64
	degraded, restored, overtaken, abandoned atomic.Int64
	submitted, appended, leased, unreadable  atomic.Int64
	unsafe, outages, failed, full, contended atomic.Int64
}

// lanes is how many lanes there are: enough to keep one connection each busy while replies are read.
const lanes = 2

// New makes a Store. It does no I/O.
func New(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, seed: maphash.MakeSeed(), pruned: map[string]uint64{}}
	var err error
	if s.layout, err = newLayout(cfg); err != nil {
		return nil, err
	}
	s.outage = &outage{store: s}
	for range lanes {
		s.lanes = append(s.lanes, newLane(&s.cfg, s.outage, memoryOfLane(cfg.MemoryBytes)))
	}
	if cfg.Django {
		s.watch = s.newWatcher()
	}
	return s, nil
}

func newLayout(cfg Config) (layout, error) {
	if cfg.Django {
		return newDjango(cfg.DjangoPrefix)
	}
	return newNative(cfg.Prefix)
}

func memoryOfLane(all int64) int64 {
	if all < 0 {
		return -1
	}
	return all / lanes
}

// Start lets the Store work, until Close. It does not wait for Redis. It returns ErrClosed after Close.
func (s *Store) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		return nil
	}
	if s.started {
		return ErrClosed
	}
	s.started = true
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = cancel
	for _, l := range s.lanes {
		l.start()
	}
	s.done.Go(func() { s.outage.watch(running) })
	if s.watch != nil {
		s.watch.start(running)
	}
	return nil
}

// Close ends the Store after the calls under way. What waits in memory for Redis is written if Redis answers, and lost
// otherwise. It may be called twice.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		for _, l := range s.lanes {
			l.close()
		}
		s.started = true
		return
	}
	if s.watch != nil {
		s.watch.close()
	}
	s.stop()
	s.done.Wait()
	for _, l := range s.lanes {
		l.close()
	}
	s.stop = nil
}

// laneOf returns the lane of what belongs together under a name.
func (s *Store) laneOf(name string) *lane {
	return s.lanes[maphash.String(s.seed, name)%lanes]
}

// do does an operation in a lane, and counts what became of it.
func (s *Store) do(ctx context.Context, name string, op operation, counter *atomic.Int64) (degraded bool, err error) {
	degraded, err = s.laneOf(name).do(ctx, op)
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.countFailure(err)
		return degraded, err
	}
	counter.Add(1)
	if degraded && err == nil {
		s.count.degraded.Add(1)
	}
	return degraded, err
}

func (s *Store) countFailure(err error) {
	var unmet *PreconditionError
	switch {
	case errors.As(err, &unmet):
		s.count.refused.Add(1)
	case errors.Is(err, ErrFull):
		s.count.full.Add(1)
	default:
		s.count.failed.Add(1)
	}
}

// outage is what all lanes know of whether Redis is away.
type outage struct {
	store *Store
	away  atomic.Bool
}

func (o *outage) on() bool { return o.away.Load() }

// begin says that Redis did not answer.
func (o *outage) begin(err error) {
	if !o.away.Swap(true) {
		o.store.count.outages.Add(1)
		o.store.cfg.Logger.Warn("Redis does not answer: temporary data is kept in memory as far as it fits, if that is not turned off",
			zap.Error(err))
	}
}

const (
	// probeEvery is how often Redis is tried while it is away, identifyEvery how often it is asked whether it was restarted
	// while it is not.
	probeEvery    = 50 * time.Millisecond
	identifyEvery = time.Second
)

// watch tells the lanes when Redis is back, and which process it is, until ctx ends.
func (o *outage) watch(ctx context.Context) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	var identified time.Time
	var told string
	for {
		if away := o.away.Load(); away && o.probe(ctx) == nil || !away && time.Since(identified) >= identifyEvery {
			if id, err := o.identify(ctx); err == nil {
				identified = time.Now()
				if away || id != told {
					told = id
					o.tell(id)
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// tell tells the lanes that Redis is there, and which process it is.
func (o *outage) tell(id string) {
	if o.away.Swap(false) {
		o.store.cfg.Logger.Info("Redis answers again: what was kept in memory is written")
	}
	for _, l := range o.store.lanes {
		select {
		case <-l.returned:
		default:
		}
		l.returned <- id
	}
}

// probe returns nil when Redis does what writes need.
func (o *outage) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.store.cfg.Timeout)
	defer cancel()
	return o.store.cfg.Redis.Set(ctx, o.store.cfg.Prefix+":temp:probe", "", time.Minute).Err()
}

// identify returns the run id of the process that Redis is, "" where that is not told.
func (o *outage) identify(ctx context.Context) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.store.cfg.Timeout)
	defer cancel()
	info, err := o.store.cfg.Redis.InfoMap(ctx, "server").Result()
	if away := replyError(err); errors.Is(away, errAway) {
		return "", away
	}
	return info["Server"]["run_id"], nil
}

// Check returns nil when temporary data is kept in Redis, and else an error that says what is wrong.
func (s *Store) Check() error {
	if !s.outage.on() {
		return nil
	}
	waiting := s.Stats().Waiting
	if s.cfg.MemoryBytes < 0 {
		return errors.New("Redis does not answer: temporary data is refused") //nolint:staticcheck // ST1005: Redis is a name.
	}
	//nolint:staticcheck // ST1005: Redis is a name.
	return fmt.Errorf("Redis does not answer: temporary data is kept in memory, %d changes wait", waiting)
}
