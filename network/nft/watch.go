package nft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// watchBuffer is the receive buffer of the event socket in bytes. One event has
// some 100-300 bytes and is accounted with 768 or more, so this holds thousands
// of changes by others; what exceeds it is noticed as ENOBUFS.
const watchBuffer = 4 << 20

// headerLen is the size of struct nfgenmsg, which precedes the attributes.
const headerLen = 4

// change says that somebody else changed a table; the zero value is any table.
type change = key

// watch sends the changes that others make until ctx ends, and one for any
// table whenever something may have been missed, also at its start. A send that
// cannot be made at once waits; events then pile up in the socket.
func (s *socket) watch(ctx context.Context, out chan<- change) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: s.fd()})
	if err != nil {
		return fmt.Errorf("opening nftables event socket: %w", err)
	}
	defer conn.Close()
	if err := conn.SetReadBuffer(watchBuffer); err != nil {
		return fmt.Errorf("setting buffer of nftables event socket: %w", err)
	}
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("listening for nftables events: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()

	send := func(c change) bool {
		select {
		case out <- c:
			return true
		case <-ctx.Done():
			return false
		}
	}
	if !send(change{}) {
		return nil
	}
	for {
		msgs, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			if !send(change{}) {
				return nil
			}
			continue
		case err != nil:
			return fmt.Errorf("reading nftables events: %w", err)
		}
		var last change
		for _, m := range msgs {
			c, ok := changeOf(m, s.port.Load())
			if ok && c != last && !send(c) {
				return nil
			}
			if ok {
				last = c
			}
		}
	}
}

// changeOf reads the table out of an event, unless own caused it. In the
// messages of all objects (table, chain, rule, set, element, object, flow
// table) attribute 1 is the table's name; see linux/netfilter/nf_tables.h.
func changeOf(m netlink.Message, own uint32) (change, bool) {
	if m.Header.PID == own || m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES ||
		m.Header.Type&0xff == unix.NFT_MSG_NEWGEN || len(m.Data) < headerLen {
		return change{}, false
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[headerLen:])
	if err != nil {
		return change{}, true
	}
	for ad.Next() {
		if ad.Type() == unix.NFTA_TABLE_NAME {
			name := string(bytes.TrimRight(ad.Bytes(), "\x00"))
			return change{nftables.TableFamily(m.Data[0]), name}, true
		}
	}
	return change{}, true
}
