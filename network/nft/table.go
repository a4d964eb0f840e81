package nft

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// Table is everything that is wanted in one nftables table.
type Table struct {
	Family nftables.TableFamily
	Name   string
	Chains []Chain // in the order in which they are made and listed
}

// Chain is a chain with all its rules.
type Chain struct {
	Name  string
	Hook  *Hook // nil: reached by jump or goto only
	Rules []Rule
}

// Hook makes a chain a base chain. Its policy is accept. The hooks that davit
// uses are variables of this package.
type Hook struct {
	Type     nftables.ChainType
	Num      nftables.ChainHook
	Priority nftables.ChainPriority
}

// Rule is a rule. Comment is shown by `nft list` (at most 127 bytes).
type Rule struct {
	Exprs   []expr.Any
	Comment string
}

// INet is the table family that sees IPv4 and IPv6.
const INet = nftables.TableFamilyINet

// SourceNAT is the hook at which a packet's source may be changed on its way
// out.
var SourceNAT = Hook{Type: nftables.ChainTypeNAT, Num: *nftables.ChainHookPostrouting, Priority: *nftables.ChainPriorityNATSource}

// maxComment is NFTNL_UDATA_COMMENT_MAXLEN without the terminating zero.
const maxComment = 127

// key names a table.
type key struct {
	family nftables.TableFamily
	name   string
}

func (t Table) key() key { return key{t.Family, t.Name} }

func (t Table) validate() error {
	if t.Name == "" || t.Family == nftables.TableFamilyUnspecified {
		return fmt.Errorf("nftables table %q: name and family are needed", t.Name)
	}
	seen := map[string]bool{}
	for _, c := range t.Chains {
		if c.Name == "" || seen[c.Name] {
			return fmt.Errorf("nftables table %q: chain name %q is empty or used twice", t.Name, c.Name)
		}
		seen[c.Name] = true
		for _, r := range c.Rules {
			if len(r.Comment) > maxComment {
				return fmt.Errorf("nftables table %q: comment %q is too long", t.Name, r.Comment)
			}
		}
	}
	return nil
}

// render returns t in a form that can be compared: the netlink form of all
// expressions, without handles.
func (t Table) render() (string, error) {
	var b strings.Builder
	for _, c := range t.Chains {
		hook := "-"
		if c.Hook != nil {
			hook = fmt.Sprintf("%s/%d/%d/accept", c.Hook.Type, c.Hook.Num, c.Hook.Priority)
		}
		fmt.Fprintf(&b, "chain %q %s\n", c.Name, hook)
		for _, r := range c.Rules {
			if err := renderRule(&b, t.Family, r.Exprs, r.userData()); err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

func renderRule(b *strings.Builder, family nftables.TableFamily, exprs []expr.Any, data []byte) error {
	fmt.Fprintf(b, " rule %x", data)
	for _, e := range exprs {
		if _, ok := e.(*expr.Counter); ok {
			e = &expr.Counter{} // what it has counted is no difference
		}
		raw, err := expr.Marshal(byte(family), e)
		if err != nil {
			return fmt.Errorf("encoding nftables expression %T: %w", e, err)
		}
		fmt.Fprintf(b, " %x", raw)
	}
	b.WriteByte('\n')
	return nil
}

// userData is how nft stores a comment.
func (r Rule) userData() []byte {
	if r.Comment == "" {
		return nil
	}
	return userdata.AppendString(nil, userdata.TypeComment, r.Comment)
}
