package admin

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/codec"
)

// completer returns what a shell may offer for an option, from the name server.
type completer func(s *session) []string

// completeTimeout bounds what a shell waits for.
const completeTimeout = time.Second

// completed says where a shell finds the values of an option.
func (o option) completed(by completer) option {
	o.complete = by
	return o
}

// addCompletion tells cobra what a shell may offer.
func (tr tree) addCompletion(o option, cmd *cobra.Command) {
	switch {
	case o.kind == kindSwitch || o.value == "FILE":
		return
	case o.kind == kindBool:
		o.choices = []string{"true", "false"}
	}
	_ = cmd.RegisterFlagCompletionFunc(o.name, func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		choices := o.choices
		if o.complete != nil {
			choices = tr.complete(o, cmd)
		}
		var fit []string
		for _, choice := range choices {
			if strings.HasPrefix(choice, begun) {
				fit = append(fit, choice)
			}
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	})
}

// complete runs the completer; a name server that does not answer offers nothing.
func (tr tree) complete(o option, cmd *cobra.Command) []string {
	s, err := tr.session(cmd)
	if err != nil {
		return nil
	}
	defer s.client.Close()
	s.timeout = completeTimeout
	return o.complete(s)
}

func completeTopics(s *session) []string {
	var list codec.TopicList
	if s.namesrvBody(func() *codec.Command { return request(codec.GetAllTopicListFromNameServer) }, &list) != nil {
		return nil
	}
	return slices.Sorted(slices.Values(list.TopicList))
}

func completeClusters(s *session) []string {
	info, err := s.clusterInfo()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(info.ClusterAddrTable))
}

func completeBrokers(s *session) []string {
	info, err := s.clusterInfo()
	if err != nil {
		return nil
	}
	var addrs []string
	for _, name := range slices.Sorted(maps.Keys(info.BrokerAddrTable)) {
		addrs = append(addrs, inOrder(info.BrokerAddrTable[name].BrokerAddrs)...)
	}
	return addrs
}

func completeBrokerNames(s *session) []string {
	info, err := s.clusterInfo()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(info.BrokerAddrTable))
}
