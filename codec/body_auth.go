package codec

// UserInfo is a user in the requests and answers of AUTH_CREATE_USER and its like. Apache: UserInfo.
type UserInfo struct {
	Password   string `json:"password,omitempty"`
	UserStatus string `json:"userStatus,omitempty"`
	UserType   string `json:"userType,omitempty"`
	Username   string `json:"username,omitempty"`
}

// ACLInfo are the policies of a subject ("User:name"). Apache: AclInfo.
type ACLInfo struct {
	Policies []PolicyInfo `json:"policies,omitempty"`
	Subject  string       `json:"subject,omitempty"`
}

// PolicyInfo is one list of a subject's entries, Custom or Default. Apache: AclInfo.PolicyInfo.
type PolicyInfo struct {
	Entries    []PolicyEntryInfo `json:"entries,omitempty"`
	PolicyType string            `json:"policyType,omitempty"`
}

// PolicyEntryInfo says what may be done with a resource. Apache: AclInfo.PolicyEntryInfo.
type PolicyEntryInfo struct {
	Actions   []string `json:"actions,omitempty"`
	Decision  string   `json:"decision,omitempty"`
	Resource  string   `json:"resource,omitempty"`
	SourceIPs []string `json:"sourceIps,omitempty"`
}
