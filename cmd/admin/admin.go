// Package admin holds the administration commands, one file each, under the names and options of Apache's mqadmin. They
// speak over the wire only, so they work against Apache's servers too.
package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// callTimeout bounds one request of a command.
const callTimeout = 5 * time.Second

// Command returns `apogee admin`. failed marks an error of a command as against a wrong command line.
func Command(failed func(error) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Administration over the wire, with mqadmin's command names and options",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(sendMessageCommand(failed))
	return cmd
}

// call sends a request and turns an answer other than SUCCESS into an error.
func call(ctx context.Context, client *remoting.Client, addr string, c *codec.Command) (*codec.Command, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c.Language, c.Version = codec.LanguageGo, codec.Version
	resp, err := client.Call(ctx, addr, c)
	if err != nil {
		return nil, err
	}
	if resp.Code != codec.Success {
		return nil, fmt.Errorf("code %d: %s", resp.Code, firstLine(resp.Remark))
	}
	return resp, nil
}

// findBroker asks the name servers, one after the other, for the master of a topic; a topic that is not there yet goes where
// TBW102 is, as in every client. want picks a broker by name.
func findBroker(ctx context.Context, client *remoting.Client, namesrv, topic, want string) (name, addr string, err error) {
	for _, server := range strings.Split(namesrv, ";") {
		for _, t := range []string{topic, "TBW102"} {
			var resp *codec.Command
			resp, err = call(ctx, client, server, &codec.Command{Code: codec.GetRouteInfoByTopic,
				Extra: []codec.Field{{Key: "topic", Value: t}, {Key: "acceptStandardJsonOnly", Value: "true"}}})
			if err != nil {
				continue
			}
			var route struct {
				BrokerDatas []struct {
					BrokerName  string            `json:"brokerName"`
					BrokerAddrs map[string]string `json:"brokerAddrs"`
				} `json:"brokerDatas"`
			}
			if err = json.Unmarshal(resp.Body, &route); err != nil {
				continue
			}
			for _, b := range route.BrokerDatas {
				if master := b.BrokerAddrs["0"]; master != "" && (want == "" || want == b.BrokerName) {
					return b.BrokerName, master, nil
				}
			}
			err = fmt.Errorf("no master in the route of %s", t)
		}
	}
	return "", "", fmt.Errorf("find a broker for topic %s by name server %s: %w", topic, namesrv, err)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
