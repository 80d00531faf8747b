#!/bin/bash
# Makes broker.conf of what the operator mounts, broker-common.conf, and of the pod's environment.
set -e
common=$ROCKETMQ_HOME/conf/broker-common.conf
conf=$ROCKETMQ_HOME/conf/broker.conf
{
	if [ -f "$common" ]; then
		sed -e '/^[[:space:]]*broker\(ClusterName\|Name\|Id\)[[:space:]]*=/d' "$common"
		echo
	fi
	echo "brokerClusterName=$BROKER_CLUSTER_NAME"
	echo "brokerName=$BROKER_NAME"
	echo "brokerId=$BROKER_ID"
	[ -z "$POD_IP" ] || echo "brokerIP1=$POD_IP"
	[ "${BROKER_ID:-0}" = 0 ] || echo "brokerRole=SLAVE"
	[ "$enableControllerMode" != true ] || printf 'enableControllerMode=true\ncontrollerAddr=%s\n' "$controllerAddr"
} >"$conf"
cat "$conf"
