package codec

import (
	"errors"
	"fmt"
	"strings"
)

// Expression types of a subscription. Apache: ExpressionType.
const (
	ExpressionTag   = "TAG"
	ExpressionSQL92 = "SQL92"
	SubAll          = "*"
)

// ErrSubscription says that a subscription's expression cannot be read.
var ErrSubscription = errors.New("bad subscription expression")

// SubscriptionData is what a group wants of a topic. SubVersion is the sender's time in milliseconds. Apache:
// SubscriptionData.
type SubscriptionData struct {
	ClassFilterMode bool     `json:"classFilterMode"`
	CodeSet         []int32  `json:"codeSet"`
	ExpressionType  string   `json:"expressionType"`
	SubString       string   `json:"subString,omitempty"`
	SubVersion      int64    `json:"subVersion"`
	TagsSet         []string `json:"tagsSet"`
	Topic           string   `json:"topic,omitempty"`
}

func (s *SubscriptionData) setDefaults() { s.ExpressionType = ExpressionTag }

// ParseSubscription reads an expression of the given type, "" being TAG. Tags stand between "||"; "" and "*" mean all.
// Any other type keeps the expression unread. SubVersion stays 0. Apache: FilterAPI.build.
func ParseSubscription(topic, expr, exprType string) (SubscriptionData, error) {
	sub := SubscriptionData{Topic: topic, SubString: expr, ExpressionType: exprType, CodeSet: []int32{}, TagsSet: []string{}}
	if exprType != "" && exprType != ExpressionTag {
		if expr == "" {
			return sub, fmt.Errorf("empty expression of type %s: %w", exprType, ErrSubscription)
		}
		return sub, nil
	}
	sub.ExpressionType = ExpressionTag
	if expr == "" || expr == SubAll {
		sub.SubString = SubAll
		return sub, nil
	}
	if strings.ReplaceAll(expr, "||", "") == "" {
		return sub, fmt.Errorf("%q has no tag: %w", expr, ErrSubscription)
	}
	seen := make(map[string]bool)
	for piece := range strings.SplitSeq(expr, "||") {
		tag := trimJava(piece)
		if tag == "" || seen[tag] {
			continue
		}
		seen[tag] = true
		sub.TagsSet = append(sub.TagsSet, tag)
		if code := javaHash(0, tag); !hasCode(sub.CodeSet, code) {
			sub.CodeSet = append(sub.CodeSet, code)
		}
	}
	return sub, nil
}

// trimJava cuts what String.trim cuts: every character up to the blank.
func trimJava(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}

func hasCode(set []int32, code int32) bool {
	for _, c := range set {
		if c == code {
			return true
		}
	}
	return false
}
