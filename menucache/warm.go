package menucache

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/connectbot-hub/connecthub/internal/cache"
)

// target is a menu and for whom.
type target struct {
	key            Key
	role, language string
}

// warmTimeout bounds a warming: whoever asked for it waits.
const warmTimeout = 20 * time.Second

// Warm makes menus ready in the cache, several at a time, and returns when it is done, ctx ends or 20 s are over; what is
// not ready by then counts as failed. It fails with an InvalidError, and with ErrUnavailable when it cannot be known
// which menus are most asked for.
func (m *Menus) Warm(ctx context.Context, w Warming) (Warmed, error) {
	ctx, cancel := context.WithTimeout(ctx, warmTimeout)
	defer cancel()
	d := m.Definitions()
	targets, err := m.targets(ctx, d, w)
	if err != nil {
		return Warmed{}, err
	}
	return m.warm(ctx, d, targets), nil
}

func (m *Menus) targets(ctx context.Context, d *Definitions, w Warming) ([]target, error) {
	if w.Top > 0 && (len(w.Types) > 0 || w.Role != "" || w.Language != "") {
		return nil, &InvalidError{[]FieldProblem{{"top", "must be given alone: it says itself which menus, for whom"}}}
	}
	if len(w.Types) > len(d.menus) {
		return nil, &InvalidError{[]FieldProblem{{"types", "must name each type once at most"}}}
	}
	if len(w.Types) == 0 {
		w.Types = []string{d.Types()[0]}
	}
	wrong := d.checkAudience(&w.Role, &w.Language, d.DefaultRole(), d.DefaultLanguage())
	switch {
	case (len(w.Users) > 0) == (w.Top > 0):
		wrong = append(wrong, FieldProblem{"users", "must be given, or top: exactly one of the two"})
	case len(w.Users)*len(w.Types) > MaxWarm:
		wrong = append(wrong, FieldProblem{"users", fmt.Sprintf("must not make more than %d menus with types", MaxWarm)})
	case w.Top > MaxWarm || w.Top < 0:
		wrong = append(wrong, FieldProblem{"top", fmt.Sprintf("must be a whole number from 1 to %d", MaxWarm)})
	}
	for i, t := range w.Types {
		switch {
		case !d.HasType(t):
			wrong = append(wrong, FieldProblem{fmt.Sprintf("types[%d]", i), oneOf(d.Types())})
		case d.HasRole(w.Role) && !d.RoleAllowed(t, w.Role):
			wrong = append(wrong, FieldProblem{fmt.Sprintf("types[%d]", i), "is not for the role " + w.Role})
		}
	}
	for i, id := range w.Users {
		if id < 1 {
			wrong = append(wrong, FieldProblem{fmt.Sprintf("users[%d]", i), wantUserID})
			break
		}
	}
	if len(wrong) > 0 {
		return nil, &InvalidError{wrong}
	}
	if w.Top > 0 {
		return m.popular(ctx, d, w.Top)
	}
	targets := make([]target, 0, len(w.Users)*len(w.Types))
	for _, id := range w.Users {
		for _, t := range w.Types {
			targets = append(targets, target{Key{id, t}, w.Role, w.Language})
		}
	}
	return targets, nil
}

// warm looks every target up.
func (m *Menus) warm(ctx context.Context, d *Definitions, targets []target) Warmed {
	var built, cached atomic.Int64
	var group errgroup.Group
	const atATime = 16
	group.SetLimit(atATime)
	for _, t := range targets {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			result, err := m.lookup(ctx, d, t.key, t.role, t.language)
			switch {
			case err == nil && result.Outcome == cache.Miss:
				built.Add(1)
			case err == nil && result.Outcome != cache.Bypass:
				cached.Add(1)
			}
			return nil
		})
	}
	_ = group.Wait() // No function returns an error.
	w := Warmed{Built: int(built.Load()), Cached: int(cached.Load())}
	w.Failed = len(targets) - w.Built - w.Cached
	return w
}

const (
	// popularEvery is how often a hub notes down what it is asked for most, and popularMost how much of it.
	popularEvery = time.Minute
	popularMost  = 1000
	// popularAge is how long that counts: yesterday's counts half.
	popularAge = 48 * time.Hour
)

// keepPopular warms the cache, and then notes down what is asked for most, until ctx ends.
func (m *Menus) keepPopular(ctx context.Context) {
	if m.cfg.WarmTop > 0 {
		m.warmTop(ctx)
	}
	ticker := time.NewTicker(popularEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.notePopular(ctx)
		case <-ctx.Done():
			// What a short-lived hub was asked for counts too.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			m.notePopular(ctx)
			cancel()
			return
		}
	}
}

func (m *Menus) warmTop(ctx context.Context) {
	warmed, err := m.Warm(ctx, Warming{Top: m.cfg.WarmTop})
	if err != nil {
		m.cfg.Logger.Warn("the menu cache was not warmed", zap.Error(err))
		return
	}
	m.cfg.Logger.Info("the menu cache is warm",
		zap.Int("built", warmed.Built), zap.Int("cached", warmed.Cached), zap.Int("failed", warmed.Failed))
}

func (m *Menus) popularKey(day time.Time) string {
	return m.cfg.Prefix + ":menu:popular:" + day.UTC().Format(time.DateOnly)
}

// notePopular adds to what all hubs were asked for most today: the first of a hub's list gets a point, the last hardly any.
func (m *Menus) notePopular(ctx context.Context) {
	var members []string
	for key, e := range m.cache.Hottest() {
		if len(members) == popularMost {
			break
		}
		if e.role != "" && e.language != "" {
			members = append(members, strings.Join([]string{key.field(), e.role, e.language}, ":"))
		}
	}
	if len(members) == 0 || m.redis.Away() {
		return
	}
	name := m.popularKey(time.Now())
	pipe := m.cfg.Redis.Pipeline()
	for i, member := range members {
		pipe.ZIncrBy(ctx, name, 1-float64(i)/float64(len(members)), member)
	}
	pipe.ZRemRangeByRank(ctx, name, 0, -2*MaxWarm)
	pipe.Expire(ctx, name, popularAge)
	if _, err := pipe.Exec(ctx); err != nil && ctx.Err() == nil {
		m.cfg.Logger.Warn("which menus are asked for most was not noted down", zap.Error(err))
	}
}

// popular returns the menus most asked for, today and yesterday.
func (m *Menus) popular(ctx context.Context, d *Definitions, top int) ([]target, error) {
	if m.redis.Away() {
		return nil, ErrUnavailable
	}
	now := time.Now()
	store := redis.ZStore{
		Keys: []string{m.popularKey(now), m.popularKey(now.AddDate(0, 0, -1))}, Weights: []float64{1, 0.5},
	}
	members, err := m.cfg.Redis.ZUnionWithScores(ctx, store).Result()
	if err != nil {
		return nil, unavailable("looking for the menus most asked for", err)
	}
	targets := make([]target, 0, min(top, len(members)))
	for i := len(members) - 1; i >= 0 && len(targets) < top; i-- {
		member, _ := members[i].Member.(string)
		parts := strings.Split(member, ":")
		if len(parts) != 4 {
			continue
		}
		id, err := strconv.ParseInt(parts[0], 10, 64)
		t := target{Key{id, parts[1]}, parts[2], parts[3]}
		if err == nil && id > 0 && d.RoleAllowed(t.key.Type, t.role) && d.HasRole(t.role) {
			if _, ok := d.Language(t.language); ok {
				targets = append(targets, t)
			}
		}
	}
	return targets, nil
}
