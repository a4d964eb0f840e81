package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/network/ns"
)

// socket is a connection to nftables in one network namespace. It is opened
// when first used and kept, so that its port id stays the same; after an error
// it may have unread answers in it and is opened anew.
type socket struct {
	netns *os.File      // nil: the process's own
	port  atomic.Uint32 // port id of the connection that was opened last

	mu   sync.Mutex
	conn *nftables.Conn
}

// openSocket prepares a connection in the namespace at path; "" is the
// process's own.
func openSocket(path string) (*socket, error) {
	s := &socket{}
	if path != "" {
		f, err := ns.Open(path)
		if err != nil {
			return nil, err
		}
		s.netns = f
	}
	return s, nil
}

func (s *socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangUpLocked()
	if s.netns != nil {
		s.netns.Close()
	}
}

func (s *socket) hangUpLocked() {
	if s.conn != nil {
		_ = s.conn.CloseLasting()
		s.conn = nil
	}
}

func (s *socket) fd() int {
	if s.netns == nil {
		return 0 // for both libraries: the calling thread's
	}
	return int(s.netns.Fd())
}

// do runs fn on the connection.
func (s *socket) do(fn func(*nftables.Conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		conn, err := nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(s.fd()),
			nftables.WithSockOptions(s.notePort))
		if err != nil {
			return fmt.Errorf("opening nftables socket: %w", err)
		}
		s.conn = conn
	}
	err := fn(s.conn)
	if err != nil {
		s.hangUpLocked()
	}
	return err
}

func (s *socket) notePort(c *netlink.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var addr unix.Sockaddr
	if ctlErr := raw.Control(func(fd uintptr) { addr, err = unix.Getsockname(int(fd)) }); ctlErr != nil {
		return ctlErr
	}
	if err != nil {
		return err
	}
	if nl, ok := addr.(*unix.SockaddrNetlink); ok {
		s.port.Store(nl.Pid)
	}
	return nil
}

// list returns the kernel's table in the form of Table.render, and whether it
// is there. A table with a flag (dormant, owner) or with sets is shown as
// differing from every wanted one.
func (s *socket) list(k key) (text string, found bool, err error) {
	err = s.do(func(c *nftables.Conn) error {
		t, err := c.ListTableOfFamily(k.name, k.family)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading nftables table %q: %w", k.name, err)
		}
		found = true
		text, err = listTable(c, t)
		return err
	})
	return text, found, err
}

func listTable(c *nftables.Conn, t *nftables.Table) (string, error) {
	var b strings.Builder
	if t.Flags != 0 {
		fmt.Fprintf(&b, "flags %x\n", t.Flags)
	}
	sets, err := c.GetSets(t)
	if err != nil {
		return "", fmt.Errorf("reading sets of nftables table %q: %w", t.Name, err)
	}
	for _, set := range sets {
		fmt.Fprintf(&b, "set %q\n", set.Name)
	}
	chains, err := c.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return "", fmt.Errorf("reading chains of nftables table %q: %w", t.Name, err)
	}
	for _, ch := range chains {
		if ch.Table.Name != t.Name {
			continue
		}
		hook := "-"
		if ch.Hooknum != nil {
			policy := "accept"
			if ch.Policy == nil || *ch.Policy != nftables.ChainPolicyAccept {
				policy = "drop"
			}
			hook = fmt.Sprintf("%s/%d/%d/%s", ch.Type, *ch.Hooknum, *ch.Priority, policy)
		}
		fmt.Fprintf(&b, "chain %q %s\n", ch.Name, hook)
		rules, err := c.GetRules(t, ch)
		if err != nil {
			return "", fmt.Errorf("reading rules of nftables chain %q: %w", ch.Name, err)
		}
		for _, r := range rules {
			if err := renderRule(&b, t.Family, r.Exprs, r.UserData); err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

// generation returns the number of the ruleset's last commit, by anybody.
func (s *socket) generation() (uint32, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: s.fd()})
	if err != nil {
		return 0, fmt.Errorf("opening nftables socket: %w", err)
	}
	defer conn.Close()
	msgs, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   make([]byte, headerLen),
	})
	if err != nil {
		return 0, fmt.Errorf("reading nftables generation: %w", err)
	}
	for _, m := range msgs {
		if len(m.Data) < headerLen {
			continue
		}
		ad, err := netlink.NewAttributeDecoder(m.Data[headerLen:])
		if err != nil {
			return 0, fmt.Errorf("reading nftables generation: %w", err)
		}
		ad.ByteOrder = binary.BigEndian
		for ad.Next() {
			if ad.Type() == unix.NFTA_GEN_ID {
				return ad.Uint32(), nil
			}
		}
	}
	return 0, errors.New("reading nftables generation: no number in the answer")
}

// replace makes the kernel's table equal to t in one transaction.
func (s *socket) replace(t Table) error {
	return s.do(func(c *nftables.Conn) error {
		table := &nftables.Table{Family: t.Family, Name: t.Name}
		c.AddTable(table) // so that deleting it cannot fail
		c.DelTable(table)
		c.AddTable(table)
		chains := make([]*nftables.Chain, len(t.Chains))
		for i, ch := range t.Chains {
			chains[i] = &nftables.Chain{Table: table, Name: ch.Name}
			if h := ch.Hook; h != nil {
				accept := nftables.ChainPolicyAccept
				chains[i].Type, chains[i].Policy = h.Type, &accept
				chains[i].Hooknum, chains[i].Priority = &h.Num, &h.Priority
			}
			c.AddChain(chains[i])
		}
		for i, ch := range t.Chains { // after all chains: rules jump to them
			for _, r := range ch.Rules {
				c.AddRule(&nftables.Rule{Table: table, Chain: chains[i], Exprs: r.Exprs, UserData: r.userData()})
			}
		}
		if err := c.Flush(); err != nil {
			return fmt.Errorf("writing nftables table %q: %w", t.Name, err)
		}
		return nil
	})
}

// drop removes a table; one that is not there is no error.
func (s *socket) drop(k key) error {
	return s.do(func(c *nftables.Conn) error {
		table := &nftables.Table{Family: k.family, Name: k.name}
		c.AddTable(table)
		c.DelTable(table)
		if err := c.Flush(); err != nil {
			return fmt.Errorf("removing nftables table %q: %w", k.name, err)
		}
		return nil
	})
}
