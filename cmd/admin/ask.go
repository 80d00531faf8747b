package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// answerError is an answer other than SUCCESS.
type answerError struct {
	code   int32
	remark string
}

// Error says the code by Java's name and what the server remarks.
func (e *answerError) Error() string {
	text := fmt.Sprintf("code %d %s", e.code, strings.ToUpper(codec.ResponseName(e.code)))
	if line := firstLine(e.remark); line != "" {
		text += ": " + line
	}
	return text
}

// answered returns the code of an answer other than SUCCESS in err, 0 when no server has answered.
func answered(err error) int32 {
	if e := (*answerError)(nil); errors.As(err, &e) {
		return e.code
	}
	return 0
}

// request makes a request from pairs of a field's name and its value; a nil value is left out, as Java's null.
func request(code int32, pairs ...any) *codec.Command {
	c := &codec.Command{Code: code, Language: codec.LanguageGo, Version: codec.Version}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != nil {
			c.Extra = append(c.Extra, codec.Field{Key: pairs[i].(string), Value: fmt.Sprint(pairs[i+1])})
		}
	}
	return c
}

// withBody adds a JSON body in Java's dialect.
func withBody(c *codec.Command, v any) (*codec.Command, error) {
	var err error
	c.Body, err = codec.MarshalJSON(v)
	return c, err
}

// ask sends a signed request to an address and returns the answer; one other than SUCCESS is an answerError.
func (s *session) ask(addr string, c *codec.Command) (*codec.Command, error) {
	resp, err := s.exchange(addr, c)
	if err != nil {
		return nil, err
	}
	if resp.Code != codec.Success {
		return nil, &answerError{resp.Code, resp.Remark}
	}
	return resp, nil
}

// exchange is ask for those who look at the code themselves.
func (s *session) exchange(addr string, c *codec.Command) (*codec.Command, error) {
	if err := checkAddr(addr); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	defer cancel()
	if err := s.keys.sign(c); err != nil {
		return nil, err
	}
	resp, err := s.client.Call(ctx, addr, c)
	return resp, reason(err)
}

// reason says in few words why a server could not be asked.
func reason(err error) error {
	var op *net.OpError
	var system *os.SyscallError
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("stopped")
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, remoting.ErrTimeout):
		return errors.New("no answer in time; a longer one is set by --timeout")
	case errors.Is(err, remoting.ErrClosed):
		return fmt.Errorf("%w (the server may demand TLS: --tls, or a certificate: tls.client.certPath)", err)
	case errors.As(err, &system):
		return fmt.Errorf("cannot connect: %w", system.Err)
	case errors.As(err, &op):
		return fmt.Errorf("cannot connect: %w", op.Err)
	}
	return err
}

// askBody is ask for an answer with a JSON body, which is read into v.
func (s *session) askBody(addr string, c *codec.Command, v any) error {
	resp, err := s.ask(addr, c)
	if err != nil {
		return err
	}
	if err := codec.UnmarshalJSON(resp.Body, v); err != nil {
		return fmt.Errorf("answer of %s: %w", addr, err)
	}
	return nil
}

// broker is ask whose errors name the broker.
func (s *session) broker(addr string, c *codec.Command) (*codec.Command, error) {
	resp, err := s.ask(addr, c)
	if err != nil {
		return nil, brokerError(addr, err)
	}
	return resp, nil
}

// brokerBody is askBody whose errors name the broker.
func (s *session) brokerBody(addr string, c *codec.Command, v any) error {
	if err := s.askBody(addr, c, v); err != nil {
		return brokerError(addr, err)
	}
	return nil
}

func brokerError(addr string, err error) error {
	if answered(err) != 0 {
		return fmt.Errorf("broker %s refuses: %w", addr, err)
	}
	return fmt.Errorf("broker %s: %w", addr, err)
}

// namesrv asks the name servers one after the other until one answers; make gives each its own request.
func (s *session) namesrv(make func() *codec.Command) (*codec.Command, error) {
	var last error
	for _, addr := range s.servers {
		resp, err := s.ask(addr, make())
		switch {
		case err == nil:
			return resp, nil
		case answered(err) != 0:
			return nil, fmt.Errorf("name server %s: %w", addr, err)
		}
		last = err
	}
	return nil, fmt.Errorf("no name server answers at %s: %w; set -n or NAMESRV_ADDR", strings.Join(s.servers, ";"), last)
}

// namesrvBody is namesrv for an answer with a JSON body, which is read into v.
func (s *session) namesrvBody(make func() *codec.Command, v any) error {
	resp, err := s.namesrv(make)
	if err != nil {
		return err
	}
	if err := codec.UnmarshalJSON(resp.Body, v); err != nil {
		return fmt.Errorf("answer of the name server: %w", err)
	}
	return nil
}

// everyNamesrv asks all name servers for a change. The first failure is returned after all were asked.
func (s *session) everyNamesrv(make func() *codec.Command) error {
	var first error
	for _, addr := range s.servers {
		if _, err := s.ask(addr, make()); err != nil && first == nil {
			first = fmt.Errorf("name server %s: %w", addr, err)
		}
	}
	return first
}

// checkAddr refuses what cannot be an address before anybody dials it.
func checkAddr(addr string) error {
	host, port, ok := cutAddr(addr)
	if !ok || host == "" || port == "" || strings.Trim(port, "0123456789") != "" {
		return usageError{fmt.Sprintf("%q is no address; one looks like 127.0.0.1:10911", addr)}
	}
	return nil
}

func cutAddr(addr string) (host, port string, ok bool) {
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		return "", "", false
	}
	return addr[:i], addr[i+1:], true
}
