#!/bin/bash
# Apache's image takes a role as the first argument or in NODE_ROLE, or any command.
set -e
role=$1
case "$role" in nameserver | broker | controller) ;; *) role=$NODE_ROLE ;; esac
case "$role" in
nameserver) shift; exec ./mqnamesrv "$@" ;;
broker) shift; exec ./mqbroker "$@" ;;
controller) shift; exec ./mqcontroller "$@" ;;
*) exec "$@" ;;
esac
