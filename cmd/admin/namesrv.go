package admin

import (
	"fmt"

	"github.com/apogee-mq/apogee/codec"
)

func namesrvCommands() []spec {
	key := text("k", "key", "KEY", "key").must()
	namespace := text("s", "namespace", "NAMESPACE", "namespace").must()
	broker := text("b", "brokerName", "NAME", "name of the broker").must().completed(completeBrokerNames)
	return []spec{
		{name: "getNamesrvConfig", short: "Show the configuration of the name servers", run: getNamesrvConfig},
		{name: "updateNamesrvConfig", short: "Change the configuration of running name servers", run: updateNamesrvConfig,
			options: []option{text("k", "key", "KEY", "key of namesrv.conf").must(), text("v", "value", "VALUE", "its value").must()}},
		{name: "updateKvConfig", short: "Write a value into the name servers' table", run: updateKvConfig,
			options: []option{namespace, key, text("v", "value", "VALUE", "value").must()}},
		{name: "deleteKvConfig", short: "Delete a value from the name servers' table", run: deleteKvConfig, options: []option{namespace, key}},
		{name: "wipeWritePerm", short: "Let nobody write to a broker any more, before it is taken down", options: []option{broker},
			long: "Every topic of the broker loses the permission to write in every name server of -n, until addWritePerm.",
			run: func(s *session) error {
				return s.writePerm("wipe", codec.WipeWritePermOfBroker, "wipeTopicCount")
			}},
		{name: "addWritePerm", short: "Let a broker be written to again, after wipeWritePerm", options: []option{broker},
			run: func(s *session) error {
				return s.writePerm("add", codec.AddWritePermOfBroker, "addTopicCount")
			}},
	}
}

// getNamesrvConfig shows configurations. Apache: GetNamesrvConfigCommand.
func getNamesrvConfig(s *session) error {
	return s.showConfigs(s.servers, codec.GetNamesrvConfig, "name server")
}

// showConfigs shows the configuration of every server of a list.
func (s *session) showConfigs(addrs []string, code int32, what string) error {
	return s.all(addrs, func(addr string) error {
		settings, err := s.settingsOf(addr, code)
		if err != nil {
			return fmt.Errorf("%s %s: %w", what, addr, err)
		}
		s.say("============%s============\n", addr)
		s.showSettings(addr, settings)
		return nil
	})
}

// updateNamesrvConfig changes configurations. Apache: UpdateNamesrvConfigCommand.
func updateNamesrvConfig(s *session) error {
	named := s.servers
	if !s.given(flagNamesrv) {
		named = nil
	}
	return s.updateConfigs(s.servers, named, codec.UpdateNamesrvConfig, "name server")
}

// updateConfigs changes the configuration of every server of a list; named are those that the command line names.
func (s *session) updateConfigs(addrs, named []string, code int32, what string) error {
	key, value := s.text("key"), s.text("value")
	err := s.all(addrs, func(addr string) error {
		c := request(code)
		c.Body = setting(key, value)
		_, err := s.ask(addr, c)
		r := record{{"addr", addr}, {"ok", err == nil}}
		if err != nil {
			r = append(r, member{"error", err.Error()})
			err = fmt.Errorf("%s %s: %w", what, addr, err)
		}
		s.add(r)
		return err
	})
	if err != nil {
		return err
	}
	list := ""
	if named != nil {
		list = javaList(named)
	}
	s.say("update %s config success!%s\n%s : %s\n", what, list, key, value)
	return nil
}

// updateKvConfig writes a value. Apache: UpdateKvConfigCommand.
func updateKvConfig(s *session) error {
	namespace, key, value := s.text("namespace"), s.text("key"), s.text("value")
	if err := s.putKV(namespace, key, value); err != nil {
		return err
	}
	s.say("create or update kv config to namespace success.\n")
	s.result(record{{"namespace", namespace}, {"key", key}, {"value", value}})
	return nil
}

// deleteKvConfig deletes a value. Apache: DeleteKvConfigCommand.
func deleteKvConfig(s *session) error {
	namespace, key := s.text("namespace"), s.text("key")
	if err := s.deleteKV(namespace, key); err != nil {
		return err
	}
	s.say("delete kv config from namespace success.\n")
	s.result(record{{"namespace", namespace}, {"key", key}, {"value", nil}})
	return nil
}

// writePerm takes or gives the permission to write. Apache: WipeWritePermSubCommand, AddWritePermSubCommand.
func (s *session) writePerm(verb string, code int32, count string) error {
	broker := s.text("brokerName")
	return s.all(s.servers, func(addr string) error {
		resp, err := s.ask(addr, request(code, "brokerName", broker))
		if err != nil {
			s.say("%s write perm of broker[%s] in name server[%s] Failed\n", verb, broker, addr)
			s.add(record{{"addr", addr}, {"ok", false}, {"error", err.Error()}})
			return fmt.Errorf("name server %s: %w", addr, err)
		}
		topics := answer(resp, count)
		s.say("%s write perm of broker[%s] in name server[%s] OK, %s\n", verb, broker, addr, topics)
		s.add(record{{"addr", addr}, {"ok", true}, {"topics", integer(topics)}})
		return nil
	})
}
