package pods

import (
	"net/netip"
	"sync"
)

// addresses knows which pod has which addresses. The records are the truth; it
// is filled from them at start.
type addresses struct {
	mu    sync.Mutex
	byUID map[string][]netip.Addr
	owner map[netip.Addr]string
}

func newAddresses() *addresses {
	return &addresses{byUID: map[string][]netip.Addr{}, owner: map[netip.Addr]string{}}
}

// hold notes that uid has addrs, as its record says. It returns the UID of the
// pod that already has one of them, if any, and then holds nothing.
func (a *addresses) hold(uid string, addrs []netip.Addr) (other string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ip := range addrs {
		if o, ok := a.owner[ip]; ok && o != uid {
			return o
		}
	}
	a.byUID[uid] = addrs
	for _, ip := range addrs {
		a.owner[ip] = uid
	}
	return ""
}

// assign returns the addresses that uid has, or allocates.
func (a *addresses) assign(uid string, allocate func(used func(netip.Addr) bool) ([]netip.Addr, error)) ([]netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if addrs, ok := a.byUID[uid]; ok {
		return addrs, nil
	}
	addrs, err := allocate(func(ip netip.Addr) bool { _, used := a.owner[ip]; return used })
	if err != nil {
		return nil, err
	}
	a.byUID[uid] = addrs
	for _, ip := range addrs {
		a.owner[ip] = uid
	}
	return addrs, nil
}

// release frees the addresses of uid.
func (a *addresses) release(uid string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ip := range a.byUID[uid] {
		delete(a.owner, ip)
	}
	delete(a.byUID, uid)
}
