package admin

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// containerTimeout is how long a container may take to start or stop a broker. Apache: DefaultMQAdminExtImpl.
const containerTimeout = 20 * time.Second

func containerCommands() []spec {
	container := text("c", "brokerContainerAddr", "ADDR", "broker container, host:port").must()
	return []spec{
		{name: "addBroker", short: "Start a broker in a broker container", run: addBroker, options: []option{container,
			text("b", "brokerConfigPath", "PATH", "the broker's configuration, a file of the container's machine").must()}},
		{name: "removeBroker", short: "Stop a broker of a broker container", run: removeBroker, options: []option{container,
			text("b", "brokerIdentity", "CLUSTER:NAME:ID", "the broker").must()}},
	}
}

// addBroker starts a broker in a container. Apache: AddBrokerSubCommand.
func addBroker(s *session) error {
	return s.container("add broker to", request(codec.AddBroker, "configPath", s.text("brokerConfigPath")))
}

// removeBroker stops a broker of a container. Apache: RemoveBrokerSubCommand.
func removeBroker(s *session) error {
	parts := strings.Split(s.text("brokerIdentity"), ":")
	if len(parts) != 3 {
		return usageError{fmt.Sprintf("-b (brokerIdentity) is clusterName:brokerName:brokerId, not %q", s.text("brokerIdentity"))}
	}
	id, err := strconv.ParseInt(strings.TrimSpace(parts[2]), 10, 64)
	if err != nil || id < 0 {
		return usageError{fmt.Sprintf("a broker id is a number from 0, not %q", parts[2])}
	}
	return s.container("remove broker from", request(codec.RemoveBroker, "brokerClusterName", strings.TrimSpace(parts[0]),
		"brokerName", strings.TrimSpace(parts[1]), "brokerId", id))
}

func (s *session) container(done string, c *codec.Command) error {
	addr := s.text("brokerContainerAddr")
	s.timeout = max(s.timeout, containerTimeout)
	if _, err := s.ask(addr, c); err != nil {
		return fmt.Errorf("broker container %s: %w", addr, err)
	}
	s.say("%s %s success\n", done, addr)
	s.result(record{{"addr", addr}, {"ok", true}})
	return nil
}
