package compat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/stretchr/testify/require"
)

// user creates a user of the target with policies, each "resource actions decision" with actions separated by commas.
func user(t *testing.T, tg *Target, name string, policies ...string) account {
	t.Helper()
	a := account{name, name + "secret"}
	tg.as.ok(t, tg.Broker(), codeAuthCreateUser, ext("username", name), mustJSON(map[string]any{"username": name, "password": a.secret, "userType": "Normal"}))
	a.allow(t, tg, policies...)
	return a
}

// allow puts policies over those of a user.
func (a account) allow(t *testing.T, tg *Target, policies ...string) {
	t.Helper()
	if len(policies) == 0 {
		return
	}
	var entries []map[string]any
	for _, p := range policies {
		words := strings.Fields(p)
		e := map[string]any{"resource": words[0], "actions": strings.Split(words[1], ","), "decision": words[2]}
		if len(words) > 3 {
			e["sourceIps"] = strings.Split(words[3], ",")
		}
		entries = append(entries, e)
	}
	tg.as.ok(t, tg.Broker(), codeAuthCreateACL, ext("subject", "User:"+a.name),
		mustJSON(map[string]any{"subject": "User:" + a.name, "policies": []any{map[string]any{"entries": entries}}}))
}

func TestAuthDecisions(t *testing.T) {
	tg := onOwn(t, Secured())
	addr, admin := tg.Broker(), *tg.as
	topic := unique("T")
	admin.ok(t, addr, codeCreateTopic, topicFields(topic, 1), nil)
	send := func(topic string) map[string]string { return shortened(sendFields(topic, 0, "")) }
	code := func(p *packet, err error) string {
		require.NoError(t, err)
		return fmt.Sprintf("%d %s", p.Code, p.Remark)
	}

	plain, err := callOnce(addr, codeSendMessageV2, send(topic), []byte("x"))
	require.Equal(t, "16 username cannot be null.", code(plain, err))
	account{"nobody", "secret123"}.refused(t, addr, "User:nobody is not found.", codeSendMessageV2, send(topic), []byte("x"))
	account{admin.name, "wrongwrong"}.refused(t, addr, "check signature failed.", codeSendMessageV2, send(topic), []byte("x"))
	admin.ok(t, addr, codeSendMessageV2, send(topic), []byte("x"))

	u := user(t, tg, "alice")
	from := "127.0.0.1"
	none := func(resource string) string {
		return "User:alice has no permission to access " + resource + " from " + from + ", no matched policies."
	}
	u.refused(t, addr, none("Topic:"+topic), codeSendMessageV2, send(topic), []byte("x"))
	u.allow(t, tg, "Topic:T* Pub Allow 10.0.0.0/8")
	u.refused(t, addr, none("Topic:"+topic), codeSendMessageV2, send(topic), []byte("x"))
	u.allow(t, tg, "Topic:T* Pub Allow 10.0.0.0/8,127.0.0.0/8")
	u.ok(t, addr, codeSendMessageV2, send(topic), []byte("x"))
	u.allow(t, tg, "Topic:"+topic+" Pub Deny")
	u.refused(t, addr, "User:alice has no permission to access Topic:"+topic+" from "+from+", the decision is deny.", codeSendMessageV2, send(topic), []byte("x"))
	u.allow(t, tg, "Topic:"+topic+" Pub,Sub Allow")
	u.ok(t, addr, codeSendMessageV2, send(topic), []byte("x"))

	group := unique("G")
	u.refused(t, addr, none("Group:"+group), codePullMessage, pullFields(group, topic, 0, 0), nil)
	u.refused(t, addr, none("Group:"+group), codeSendMessageV2, send("%RETRY%"+group), []byte("x"))
	u.refused(t, addr, none("Group:"+group), codeHeartbeat, nil, heartbeatOf(group, topic))
	u.refused(t, addr, none("Cluster:"+tg.ClusterName), codeAuthListUser, nil, nil)
	u.refused(t, addr, none("Topic:"+topic), codeCreateTopic, topicFields(topic, 1), nil)
	u.allow(t, tg, "Group:"+group+" Sub Allow")
	u.ok(t, addr, codeHeartbeat, nil, heartbeatOf(group, topic))

	admin.ok(t, addr, codeAuthUpdateUser, ext("username", "alice"), []byte(`{"userStatus":"disable"}`))
	u.refused(t, addr, "User:alice is disabled.", codeSendMessageV2, send(topic), []byte("x"))
	admin.ok(t, addr, codeAuthUpdateUser, ext("username", "alice"), []byte(`{"userStatus":"enable","password":"another1"}`))
	u.refused(t, addr, "check signature failed.", codeSendMessageV2, send(topic), []byte("x"))
	u.secret = "another1"
	u.ok(t, addr, codeSendMessageV2, send(topic), []byte("x"))
	u.allow(t, tg, "Cluster:* Update Allow")
	res, err := u.call(addr, codeAuthCreateUser, ext("username", "mallory"), []byte(`{"password":"secret12","userType":"Super"}`))
	require.Equal(t, "1 The super user can only be create by super user", code(res, err))
	u.refused(t, addr, "The super user can only be update by super user", codeAuthUpdateUser, ext("username", admin.name), []byte(`{"password":"mine"}`))

	before := string(admin.ok(t, addr, codeAuthGetACL, ext("subject", "User:alice"), nil).Body)
	tg.StopBroker(t)
	tg.StartBroker(t)
	require.Equal(t, before, string(admin.ok(t, addr, codeAuthGetACL, ext("subject", "User:alice"), nil).Body))
	u.ok(t, addr, codeSendMessageV2, send(topic), []byte("x"))
	admin.ok(t, addr, codeAuthDeleteUser, ext("username", "alice"), nil)
	u.refused(t, addr, "User:alice is not found.", codeSendMessageV2, send(topic), []byte("x"))
}

// heartbeatOf is the body of a heartbeat of one consumer group.
func heartbeatOf(group, topic string) []byte {
	return mustJSON(map[string]any{"clientID": "127.0.0.1@auth", "producerDataSet": []any{}, "consumerDataSet": []any{map[string]any{
		"groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING", "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET",
		"subscriptionDataSet": []any{map[string]any{"topic": topic, "subString": "*", "subVersion": 1, "expressionType": "TAG", "tagsSet": []any{}, "codeSet": []any{}}}}}})
}

// The clients work with the credentials of a user whom policies allow everything, so that each of their requests is looked at.
func TestAuthClients(t *testing.T) {
	needJava(t)
	tg := onOwn(t, Secured())
	u := user(t, tg, "worker", "* All Allow")
	t.Run("go", func(t *testing.T) {
		topic, group := unique("T"), unique("G")
		tg.as.ok(t, tg.Broker(), codeCreateTopic, topicFields(topic, 1), nil)
		mine := user(t, tg, "goclient", "Topic:"+topic+" Pub,Sub Allow", "Group:"+group+" Sub Allow")
		credentials := primitive.Credentials{AccessKey: mine.name, SecretKey: mine.secret}
		p := newProducer(t, tg, producer.WithCredentials(credentials))
		sendAll(t, p, topic, numbered("signed", 5))
		in := new(inbox)
		startPush(t, tg, group, topic, teeing(in, new(inbox)), consumer.WithCredentials(credentials))
		in.awaitDistinct(t, 30*time.Second, numbered("signed", 5))
		wrong := newProducer(t, tg, producer.WithCredentials(primitive.Credentials{AccessKey: mine.name, SecretKey: "wrong"}))
		_, err := wrong.SendSync(context.Background(), message(topic, "x"))
		require.Error(t, err)
	})
	tg.as = &u
	binary := "|codec-binary"
	if needTarget(t) == Apache {
		binary = "" // see MATRIX.md
	}
	for _, version := range javaVersions {
		t.Run(version, func(t *testing.T) {
			requireJava(t, tg, version, "--match", "^(send-(sync|batch|oneway|vip)|push-(concurrent|broadcast)|orderly-several-queues|"+
				"retry-(dlq|then-success)|lite-subscribe|reply-sync|admin-|pop-(concurrent|nack)|pull-(commit|page)|offset-|query-by"+binary+")")
			requireJava(t, tg, version, "--scenario", "transaction-decided")
		})
	}
}

// Apache's mqadmin administers users and policies, and prints what it prints with Apache's broker.
func TestMqadminUsers(t *testing.T) {
	needJava(t)
	tg := onOwn(t, Secured())
	b := tg.Broker()
	lines := func(out string) []string {
		var rows []string
		for _, line := range strings.Split(out, "\n") {
			if words := strings.Fields(line); len(words) > 0 && !strings.Contains(line, "|-") {
				rows = append(rows, strings.Join(words, " "))
			}
		}
		return rows
	}
	ok := func(want string, args ...string) {
		t.Helper()
		require.Contains(t, lines(mqadmin(t, tg, args...)), want)
	}
	ok("create user to "+b+" success.", "createUser", "-b", b, "-u", "fxuser", "-p", "fxPass1234", "-t", "Normal")
	ok("fxuser fxPass1234 Normal enable", "getUser", "-b", b, "-u", "fxuser")
	ok("update user to "+b+" success.", "updateUser", "-b", b, "-u", "fxuser", "-s", "disable")
	ok("fxuser fxPass1234 Normal disable", "listUser", "-c", tg.ClusterName)
	ok("create acl to "+b+" success.", "createAcl", "-b", b, "-s", "User:fxuser", "-r", "Topic:FxNormal,Group:CG_*", "-a", "Pub,Sub", "-i", "192.168.0.0/24", "-d", "Allow")
	ok("User:fxuser Custom Group:CG_* [Pub, Sub] [192.168.0.0/24] Allow", "getAcl", "-b", b, "-s", "User:fxuser")
	ok("update acl to "+b+" success.", "updateAcl", "-b", b, "-s", "User:fxuser", "-r", "Topic:FxNormal", "-a", "Sub", "-d", "Deny")
	ok("User:fxuser Custom Topic:FxNormal [Sub] null Deny", "listAcl", "-c", tg.ClusterName, "-s", "fxuser")
	ok("copy user of fxuser from "+b+" to "+b+" success.", "copyUser", "-f", b, "-t", b, "-u", "fxuser")
	ok("copy acl of User:fxuser from "+b+" to "+b+" success.", "copyAcl", "-f", b, "-t", b, "-s", "User:fxuser")
	ok("delete acl to "+b+" success.", "deleteAcl", "-b", b, "-s", "User:fxuser", "-r", "Topic:FxNormal")
	require.NotContains(t, mqadmin(t, tg, "listAcl", "-b", b), "Topic:FxNormal")
	ok("delete user to "+b+" success.", "deleteUser", "-b", b, "-u", "fxuser")
	require.NotContains(t, mqadmin(t, tg, "listUser", "-b", b), "fxuser")
}

// Our name server checks requests too: brokers of both kinds register there with their inner credentials, nobody does without.
func TestAuthAtNamesrv(t *testing.T) {
	needJava(t)
	if needTarget(t) != Apogee {
		t.Skip("Apache's name server checks nothing")
	}
	t.Parallel()
	for _, kind := range []Kind{Apogee, Apache} {
		t.Run(string(kind), func(t *testing.T) {
			if kind == Apache {
				besideApache(t)
			}
			tg, err := newTarget(kind, t.TempDir(), Secured(), SecuredNamesrv())
			require.NoError(t, err)
			namesrvs, err := newApogeeLauncher()
			require.NoError(t, err)
			tg.launch = mixedLauncher{namesrvs: namesrvs, brokers: tg.launch}
			tg.run(t)
			p, err := callOnce(tg.Namesrv(), codeGetRoute, ext("topic", "TBW102"), nil)
			require.NoError(t, err)
			require.Equal(t, "username cannot be null.", p.Remark)
			tg.as.ok(t, tg.Namesrv(), codeGetRoute, ext("topic", "TBW102"), nil)
			p, err = callOnce(tg.Namesrv(), codeUpdateNamesrvConfig, nil, []byte("scanNotActiveBrokerInterval=5001\n"))
			require.NoError(t, err)
			require.Equal(t, resNoPermission, p.Code)
			tg.as.ok(t, tg.Namesrv(), codeUpdateNamesrvConfig, nil, []byte("scanNotActiveBrokerInterval=5001\n"))
			require.NotContains(t, string(tg.as.ok(t, tg.Namesrv(), codeGetNamesrvConfig, nil, nil).Body), adminAccount.secret)
			if kind == Apogee {
				tg.StopNamesrv(t) // its file has been written anew
				tg.StartNamesrv(t)
				p, err = callOnce(tg.Namesrv(), codeGetRoute, ext("topic", "TBW102"), nil)
				require.NoError(t, err)
				require.Equal(t, "username cannot be null.", p.Remark)
			}
		})
	}
}

// Accounts of plain_acl.yml, which Apache's servers have checked up to 5.2.
func TestPlainAccounts(t *testing.T) {
	needJava(t)
	if needTarget(t) != Apogee {
		t.Skip("Apache 5.4.0 does not know plain_acl.yml any more")
	}
	home := t.TempDir()
	file := filepath.Join(home, "conf", "plain_acl.yml")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	write := func(topicPerm string) {
		require.NoError(t, os.WriteFile(file, []byte("accounts:\n  - accessKey: "+adminAccount.name+"\n    secretKey: "+adminAccount.secret+
			"\n    admin: true\n  - accessKey: worker1\n    secretKey: workersecret\n    defaultTopicPerm: "+topicPerm+"\n    defaultGroupPerm: SUB\n"), 0o600))
	}
	write("PUB|SUB")
	tg := onOwn(t, func(t *Target) { t.as = &adminAccount }, WithConf("aclEnable", "true"), WithConf("rocketmqHome", home), WithConf("authenticationMetadataProvider",
		"org.apache.rocketmq.auth.authentication.provider.LocalAuthenticationMetadataProvider"))
	worker := account{"worker1", "workersecret"}
	topic := unique("T")
	const aclException = "org.apache.rocketmq.acl.common.AclException: "
	refusedWith := func(a account, remark string, code int, fields map[string]string) {
		t.Helper()
		p, err := a.call(tg.Broker(), code, fields, nil)
		require.NoError(t, err)
		require.Equal(t, resSystemError, p.Code)
		require.Equal(t, aclException+remark, p.Remark)
	}
	tg.as.ok(t, tg.Broker(), codeCreateTopic, topicFields(topic, 1), nil)
	refusedWith(worker, "Need admin permission for request code=17, but accessKey=worker1 is not", codeCreateTopic, topicFields(topic, 2))
	refusedWith(account{"worker1", "wrong"}, "Check signature failed for accessKey=worker1", codeSendMessageV2, shortened(sendFields(topic, 0, "")))
	worker.ok(t, tg.Broker(), codeSendMessageV2, shortened(sendFields(topic, 0, "")), []byte("x"))

	require.NoError(t, os.WriteFile(file, []byte("accounts:\n  - accessKey: [broken\n"), 0o600))
	eventually(t, 20*time.Second, func() error {
		if !strings.Contains(tg.logs(), "plain_acl.yml: yaml: line") {
			return fmt.Errorf("the broken file is not in the log")
		}
		return nil
	})
	worker.ok(t, tg.Broker(), codeSendMessageV2, shortened(sendFields(topic, 0, "")), []byte("x"))
	write("SUB")
	eventually(t, 20*time.Second, func() error {
		p, err := worker.call(tg.Broker(), codeSendMessageV2, shortened(sendFields(topic, 0, "")), []byte("x"))
		if err == nil && p.Remark != aclException+"No default permission for topic:"+topic {
			err = fmt.Errorf("code %d: %s", p.Code, p.Remark)
		}
		return err
	})
	for _, version := range javaVersions {
		t.Run(version, func(t *testing.T) {
			requireJava(t, tg, version, "--scenario", "send-sync,push-concurrent,admin-topic")
		})
	}
}

// In one process the name server checks with the broker's users, those too that are created later.
func TestAuthInOneProcess(t *testing.T) {
	if needTarget(t) != Apogee {
		t.Skip("servers of Apache do not run in one process")
	}
	tg := onOwn(t, Secured(), InOneProcess())
	p, err := callOnce(tg.Namesrv(), codeGetRoute, ext("topic", "TBW102"), nil)
	require.NoError(t, err)
	require.Equal(t, "username cannot be null.", p.Remark)
	u := user(t, tg, "reader", "Topic:TBW102 Sub Allow")
	u.ok(t, tg.Namesrv(), codeGetRoute, ext("topic", "TBW102"), nil)
	u.refused(t, tg.Namesrv(), "User:reader has no permission to access Topic:Other from 127.0.0.1, no matched policies.", codeGetRoute, ext("topic", "Other"), nil)
	u.refused(t, tg.Namesrv(), "User:reader has no permission to access Cluster:"+tg.ClusterName+" from 127.0.0.1, no matched policies.",
		codeUpdateNamesrvConfig, nil, []byte("enableTopicList=false\n"))
}
