#!/bin/bash
set -e
./brokerGenConfig.sh
exec ./mqbroker -n "$NAMESRV_ADDR" -c "$ROCKETMQ_HOME/conf/broker.conf"
