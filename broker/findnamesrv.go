package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

const (
	keyNamesrvDomain   = "rocketmq.namesrv.domain"
	keyNamesrvSubgroup = "rocketmq.namesrv.domain.subgroup"
	// findWait bounds one question. Apache: 3 s.
	findWait = 3 * time.Second
	// maxListBytes and maxFound bound the answer.
	maxListBytes = 64 << 10
	maxFound     = 256
)

// NamesrvFinding says how a list of name servers is found that changes while the broker runs. Apache: BrokerConfig, MixAll.getWSAddr.
type NamesrvFinding struct {
	// ByAddressServer asks an HTTP server for the list every FetchInterval, where namesrvAddr names none. The defaults are false and 10 s.
	ByAddressServer bool
	FetchInterval   time.Duration
	// ByDNS looks the hosts of namesrvAddr up every LookupInterval and takes all their addresses. The defaults are false and 2 min.
	ByDNS          bool
	LookupInterval time.Duration
	// Domain is the HTTP server, at port 8080 unless it has one, Subgroup the last part of the path. Empty ones come from the environment
	// as system properties of Java; the defaults are then Apache's, jmenv.tbsite.net and nsaddr.
	Domain, Subgroup string
	// Own is a name server of this process, which stays in the list.
	Own string
}

func defaultNamesrvFinding() NamesrvFinding {
	return NamesrvFinding{FetchInterval: 10 * time.Second, LookupInterval: 2 * time.Minute}
}

func withFindingKeys(keys codec.SettingKeys[Config]) codec.SettingKeys[Config] {
	keys["fetchNamesrvAddrByAddressServer"] = codec.BoolKey(func(c *Config) *bool { return &c.Finding.ByAddressServer })
	keys["fetchNamesrvAddrInterval"] = codec.DurationKey(func(c *Config) *time.Duration { return &c.Finding.FetchInterval }, time.Millisecond, time.Second)
	keys["fetchNameSrvAddrByDnsLookup"] = codec.BoolKey(func(c *Config) *bool { return &c.Finding.ByDNS })
	keys["updateNameServerAddrPeriod"] = codec.DurationKey(func(c *Config) *time.Duration { return &c.Finding.LookupInterval }, time.Millisecond, time.Second)
	keys[keyNamesrvDomain] = codec.TextKey(func(c *Config) *string { return &c.Finding.Domain })
	keys[keyNamesrvSubgroup] = codec.TextKey(func(c *Config) *string { return &c.Finding.Subgroup })
	return keys
}

// url is where the list is asked for.
func (f *NamesrvFinding) url() string {
	value := func(given, key, otherwise string) string {
		if property, ok := remoting.JavaProperty(key); given == "" && ok {
			given = property
		}
		if given == "" {
			return otherwise
		}
		return given
	}
	domain := value(f.Domain, keyNamesrvDomain, "jmenv.tbsite.net")
	if !strings.Contains(domain, ":") {
		domain += ":8080"
	}
	return "http://" + domain + "/rocketmq/" + value(f.Subgroup, keyNamesrvSubgroup, "nsaddr")
}

// namesrvFinder finds the list of name servers again and again. Apache: BrokerController.initializeScheduledTasks, BrokerOuterAPI.
type namesrvFinder struct {
	// find returns the list; nil when it is fixed.
	find   func(ctx context.Context) ([]string, error)
	source string
	period time.Duration
	set    func(addrs []string)
	log    *slog.Logger

	last   []string
	failed bool
}

func newNamesrvFinder(cfg Config, set func([]string), log *slog.Logger) *namesrvFinder {
	f, own := &namesrvFinder{set: set, log: log}, cfg.Finding.Own
	switch {
	case cfg.Finding.ByDNS && cfg.NamesrvAddrs != own:
		f.source, f.period = cfg.NamesrvAddrs, cfg.Finding.LookupInterval
		f.find = func(ctx context.Context) ([]string, error) {
			return lookupAll(ctx, cfg.NamesrvAddrs, net.DefaultResolver.LookupHost)
		}
	case cfg.Finding.ByAddressServer && cfg.NamesrvAddrs == own:
		f.source, f.period = cfg.Finding.url(), cfg.Finding.FetchInterval
		// Java asks directly too, whatever proxies the environment names.
		direct := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		f.find = func(ctx context.Context) ([]string, error) {
			addrs, err := fetchNamesrvs(ctx, direct, f.source)
			if err == nil && own != "" && !slices.Contains(addrs, own) {
				addrs = append([]string{own}, addrs...)
			}
			return addrs, err
		}
	}
	return f
}

// first finds the list before the broker registers for the first time.
func (f *namesrvFinder) first(ctx context.Context) {
	if f.find != nil {
		f.once(ctx)
	}
}

// run finds the list again every period until ctx ends.
func (f *namesrvFinder) run(ctx context.Context) {
	if f.find == nil {
		return
	}
	ticker := time.NewTicker(f.period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.once(ctx)
		}
	}
}

// once takes a changed list. When none can be had the last one stays, and the log says so once.
func (f *namesrvFinder) once(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, findWait)
	defer cancel()
	addrs, err := f.find(ctx)
	if err != nil {
		if !f.failed && !errors.Is(ctx.Err(), context.Canceled) {
			f.log.Warn("name servers cannot be found, those known stay", "source", f.source, "known", strings.Join(f.last, ";"), "err", err)
		}
		f.failed = true
		return
	}
	f.failed = false
	slices.Sort(addrs)
	addrs = slices.Compact(addrs)
	if slices.Equal(addrs, f.last) {
		return
	}
	f.log.Info("name servers have changed", "source", f.source, "before", strings.Join(f.last, ";"), "now", strings.Join(addrs, ";"))
	f.last = addrs
	f.set(addrs)
}

// lookupAll returns all addresses of the hosts in a list of "host:port". Hosts that cannot be found make an error, so that a name
// server is not left because of a fault of DNS.
func lookupAll(ctx context.Context, list string, lookup func(context.Context, string) ([]string, error)) ([]string, error) {
	var all []string
	for _, addr := range strings.Split(list, ";") {
		if addr = strings.TrimSpace(addr); addr == "" {
			continue
		}
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("namesrvAddr: %q: want host:port", addr)
		}
		hosts, err := lookup(ctx, host)
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			all = append(all, net.JoinHostPort(h, port))
		}
	}
	if len(all) == 0 || len(all) > maxFound {
		return nil, fmt.Errorf("namesrvAddr=%s has %d addresses; want 1 to %d", list, len(all), maxFound)
	}
	return all, nil
}

// fetchNamesrvs asks an HTTP server for "host:port;host:port". Apache: DefaultTopAddressing.
func fetchNamesrvs(ctx context.Context, client *http.Client, url string) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", keyNamesrvDomain, keyNamesrvSubgroup, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxListBytes))
	if err != nil {
		return nil, fmt.Errorf("read the list of name servers from %s: %w", url, err)
	}
	text := strings.TrimSpace(string(b))
	if end := strings.IndexAny(text, "\r\n"); end >= 0 {
		text = text[:end]
	}
	var addrs []string
	for _, addr := range strings.Split(text, ";") {
		if addr = strings.TrimSpace(addr); addr == "" {
			continue
		}
		host, port, err := net.SplitHostPort(addr)
		if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || host == "" || n == 0 {
			return nil, fmt.Errorf("%s answers %.100q: %.100q is no host:port", url, text, addr)
		}
		addrs = append(addrs, addr)
	}
	if len(addrs) == 0 || len(addrs) > maxFound {
		return nil, fmt.Errorf("%s names %d name servers; want 1 to %d", url, len(addrs), maxFound)
	}
	return addrs, nil
}
