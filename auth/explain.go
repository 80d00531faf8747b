package auth

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// Question is what an explanation is wanted for: a request that speaks of a topic and a group, or actions on these.
type Question struct {
	// Code is the request's; 0 asks for Actions on each resource that is given.
	Code    int32
	Actions []string
	// Topic, Group and Cluster are what the request speaks of, empty for what it does not.
	Topic, Group, Cluster string
	From                  netip.Addr
}

// Step is the answer for one resource.
type Step struct {
	Resource string `json:"resource"`
	Actions  string `json:"actions"`
	Allowed  bool   `json:"allowed"`
	// Policy is the list, and Entry the entry of it, that decided; empty when none matched.
	Policy string                `json:"policy,omitempty"`
	Entry  codec.PolicyEntryInfo `json:"entry"`
}

// Explanation says how a request is decided about and why.
type Explanation struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"`
	Steps   []Step `json:"needs"`
}

// Explain decides as a broker does whose users are as given; acl may be empty.
func Explain(info codec.UserInfo, policies []codec.PolicyInfo, q *Question) (Explanation, error) {
	var x explainer
	x.from, x.cluster = q.From.Unmap(), q.Cluster
	if len(policies) > 0 {
		parsed, err := parsePolicies(policies)
		if err != nil {
			return Explanation{}, err
		}
		x.acl = (*acl)(nil).merged(parsed)
	}
	if err := q.walk(&x); err != nil {
		return Explanation{}, err
	}
	e := Explanation{Allowed: true, Reason: "every right that is needed is there", Steps: x.steps}
	switch {
	case info.Username == "":
		return Explanation{Reason: "there is no such user"}, nil
	case strings.EqualFold(info.UserStatus, "disable"):
		return Explanation{Reason: "the user is disabled"}, nil
	case isSuper(info.UserType):
		return Explanation{Allowed: true, Reason: "super users may do everything"}, nil
	case len(x.steps) == 0:
		e.Reason = "every user may send this request"
	}
	for i := range x.steps {
		if s := &x.steps[i]; !s.Allowed {
			e.Allowed, e.Reason = false, "no policy speaks of "+s.Resource+" with "+s.Actions+" from "+q.From.String()
			if s.Policy != "" {
				e.Reason = "the entry " + s.Entry.Resource + " denies it"
			}
			break
		}
	}
	return e, nil
}

// explainer notes what is asked and how it is decided.
type explainer struct {
	acl     *acl
	from    netip.Addr
	cluster string
	steps   []Step
}

// ask implements asker; it never refuses, so that all is asked.
func (x *explainer) ask(kind Kind, name []byte, actions Actions) error {
	if name == nil {
		name = []byte(x.cluster)
	}
	s := Step{Resource: kind.String() + ":" + string(name), Actions: actions.String()}
	if e, typ := x.acl.find(kind, name, actions, x.from); e != nil {
		s.Allowed, s.Policy, s.Entry = !e.deny, policyNames[typ], e.info()
	}
	x.steps = append(x.steps, s)
	return nil
}

// walk asks for what the question needs.
func (q *Question) walk(a asker) error {
	if q.Code != 0 {
		return q.request(a)
	}
	var mask Actions
	for _, name := range q.Actions {
		action := actionOf(strings.TrimSpace(name))
		if action == 0 {
			return fmt.Errorf("%q is no action; there are Pub, Sub, Create, Update, Delete, Get and List", name)
		}
		mask |= action
	}
	for _, r := range []struct {
		kind Kind
		name string
	}{{KindTopic, q.Topic}, {KindGroup, q.Group}} {
		if r.name == "" {
			continue
		}
		if err := askTopicOrGroup(r.kind, []byte(r.name), mask, a); err != nil {
			return err
		}
	}
	if q.Topic == "" && q.Group == "" {
		return a.ask(KindCluster, nil, mask)
	}
	return nil
}

// request asks for what a request with these names needs.
func (q *Question) request(a asker) error {
	r := rules[q.Code]
	if r == nil {
		return nil
	}
	c := &codec.Command{Code: q.Code}
	for _, f := range []struct{ value, keys string }{{q.Topic, "topic b originTopic"}, {q.Group, "consumerGroup group groupName"}} {
		for _, key := range strings.Fields(f.keys) {
			if f.value != "" {
				c.Extra = append(c.Extra, codec.Field{Key: key, Value: f.value})
			}
		}
	}
	var err error
	if c.Body, err = q.body(); err != nil {
		return err
	}
	var in codec.Command
	if err := codec.ParseFrame(codec.AppendFrame(nil, c), &in); err != nil {
		return err
	}
	return r.walk(&in, a)
}

// body is what the body of the request says of the names, for those that name them there.
func (q *Question) body() ([]byte, error) {
	switch q.Code {
	case codec.HeartBeat:
		return codec.MarshalJSON(codec.HeartbeatData{ConsumerDataSet: []codec.ConsumerData{{GroupName: q.Group,
			SubscriptionDataSet: []codec.SubscriptionData{{Topic: q.Topic}}}}})
	case codec.LockBatchMQ, codec.UnlockBatchMQ:
		return codec.MarshalJSON(codec.LockBatchRequest{ConsumerGroup: q.Group, MQSet: []codec.MessageQueue{{Topic: q.Topic}}})
	case codec.QueryAssignment:
		return codec.MarshalJSON(codec.QueryAssignmentRequest{ConsumerGroup: q.Group, Topic: q.Topic})
	case codec.SetMessageRequestMode:
		return codec.MarshalJSON(codec.MessageRequestMode{ConsumerGroup: q.Group, Topic: q.Topic})
	case codec.UpdateAndCreateSubscriptionGroup:
		return codec.MarshalJSON(codec.NewSubscriptionGroupConfig(q.Group))
	case codec.BatchAckMessage, codec.UpdateAndCreateTopicList, codec.UpdateAndCreateSubscriptionGroupList:
		return nil, fmt.Errorf("the request names several resources in its body; ask for the actions on each instead")
	}
	return nil, nil
}

// ReadUser returns a user and its policies out of a folder, without changing anything there. Both are empty when there is none of
// that name.
func ReadUser(dir, keyPath, name string) (codec.UserInfo, []codec.PolicyInfo, error) {
	if _, err := os.Stat(filepath.Join(dir, fileName)); err != nil {
		return codec.UserInfo{}, nil, fmt.Errorf("no users there: %w", err)
	}
	if keyPath == "" {
		keyPath = filepath.Join(dir, keyName)
	}
	if _, err := os.Stat(keyPath); err != nil {
		return codec.UserInfo{}, nil, fmt.Errorf("the key of the users' secrets: %w", err)
	}
	b, err := OpenBook(dir, keyPath, slog.New(slog.DiscardHandler))
	if err != nil {
		return codec.UserInfo{}, nil, err
	}
	u := b.find([]byte(name))
	if u == nil {
		return codec.UserInfo{}, nil, nil
	}
	info := u.info()
	info.Password = ""
	if u.acl == nil {
		return info, nil, nil
	}
	return info, u.acl.info(subject(name)).Policies, nil
}

// RequestCode returns the code of a request's name as metrics and logs show it.
func RequestCode(name string) (int32, bool) {
	for code := range rules {
		if strings.EqualFold(codec.RequestName(code), name) {
			return code, true
		}
	}
	return 0, false
}
