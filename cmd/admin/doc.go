// Package admin holds the administration commands under the names and options of Apache's mqadmin 5.5. They speak over the wire
// only, so they work against Apache's servers too. Apache: rocketmq-tools, MQAdminStartup.
//
// A command is one row, a spec: its name, its options as Apache has them, and a function that runs it.
//
//	spec{
//		name:  "topicClusterList",
//		short: "Say which clusters hold a topic",
//		options: []option{text("t", "topic", "TOPIC", "name of the topic").must()},
//		run:   topicClusterList,
//	}
//
// To add one:
//
//  1. Write the row into the function of its family (topicCommands, brokerCommands ...); a new family is one more line in families.
//     A test holds every row against testdata/options.tsv, which was printed by Apache's own classes: names, letters, which options
//     take a value, which are required, and of which groups one has to be given.
//  2. Write `func topicClusterList(s *session) error` in a file named for the command or its family.
//     It reads its options with s.text, s.number, s.boolean and s.given: they were checked before it runs, a number is a number.
//     It asks servers with s.namesrv, s.everyNamesrv, s.broker and s.ask; a request is made by request(code, "key", value, ...).
//     It finds brokers with s.clusterInfo, s.route, s.masters, s.targets.
//  3. What it shows goes through s.table (Apache's headings, order and widths: scripts cut columns) or s.say (a line for people) and,
//     for -o json, s.result (a value for programs; a table gives its own rows). Under json s.say is silent.
//  4. A change on several brokers goes through s.each, which reports every broker and fails when one did.
//  5. An error is returned, never printed: it becomes one sentence on stderr and exit code 1. usageError makes it exit code 2.
package admin
