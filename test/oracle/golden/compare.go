package golden

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/davit-agent/davit/test/oracle/scenario"
)

// Difference is something in which two goldens differ. Facet is a facet's name,
// or "final PATH". Want or Got is nil where one has no such thing.
type Difference struct {
	Facet     string
	Want, Got []string
	// Note says why it is one, where that does not show.
	Note string
}

// String tells a difference on lines of its own.
func (d Difference) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", d.Facet)
	if d.Note != "" {
		fmt.Fprintf(&b, " %s", d.Note)
	}
	for _, side := range []struct {
		name   string
		values []string
	}{{"want", d.Want}, {"got", d.Got}} {
		if side.values == nil {
			fmt.Fprintf(&b, "\n\t%-5s nothing", side.name)
			continue
		}
		for i, v := range side.values {
			name := side.name
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "\n\t%-5s %s", name, v)
		}
	}
	return b.String()
}

// Compare returns in what got, which is davit's, differs from want: facets by
// name, then paths of the final status. Events are not compared: davit writes
// none. A facet that differs names is not compared with want, but with the
// sequence that it gives, if it does.
func Compare(want, got *Golden, differs []scenario.Difference) []Difference {
	var out []Difference
	for _, name := range union(want.Facets, got.Facets) {
		w, g := want.Facets[name], got.Facets[name]
		if d, ok := expected(differs, name); ok {
			if d.Davit != nil && !agree(d.Davit, g) {
				out = append(out, Difference{name, d.Davit, g, "not what was to differ on purpose (" + d.Reason + ")"})
			}
			continue
		}
		if !agree(w, g) {
			out = append(out, Difference{Facet: name, Want: w, Got: g})
		}
	}
	for _, path := range union(want.Final, got.Final) {
		w, wok := want.Final[path]
		g, gok := got.Final[path]
		if wok == gok && w == g {
			continue
		}
		name := "final " + path
		if d, ok := expected(differs, name); ok {
			if d.Davit != nil && !slices.Equal(d.Davit, one(g, gok)) {
				out = append(out, Difference{name, d.Davit, one(g, gok), "not what was to differ on purpose (" + d.Reason + ")"})
			}
			continue
		}
		out = append(out, Difference{Facet: name, Want: one(w, wok), Got: one(g, gok)})
	}
	return out
}

// CompareEvents returns in what the events of two goldens differ: "events
// CONTAINER", in their order.
func CompareEvents(want, got *Golden) []Difference {
	var out []Difference
	for _, of := range union(want.Events, got.Events) {
		if w, g := want.Events[of], got.Events[of]; !slices.Equal(w, g) {
			out = append(out, Difference{Facet: "events " + of, Want: w, Got: g})
		}
	}
	return out
}

func one(v string, ok bool) []string {
	if !ok {
		return nil
	}
	return []string{v}
}

func union[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// expected returns the entry for a facet.
func expected(differs []scenario.Difference, facet string) (scenario.Difference, bool) {
	for _, d := range differs {
		if glob(d.Facet, facet) {
			return d, true
		}
	}
	return scenario.Difference{}, false
}

// glob tells whether s is what the pattern says; a * stands for anything.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		_, after, ok := strings.Cut(s, p)
		if !ok {
			return false
		}
		s = after
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// agree tells whether two sequences are the same but for what may be missed.
func agree(want, got []string) bool {
	a := &aligner{want: parse(want), got: parse(got), known: map[position]bool{}}
	return a.from(position{last: -1})
}

func parse(values []string) []item {
	out := make([]item, len(values))
	for i, v := range values {
		value, missed := strings.CutPrefix(v, mark)
		out[i] = item{value, missed}
	}
	return out
}

// position is how far two sequences have been found to agree.
type position struct {
	want, got int
	last      int // of want: what both had last; -1 is nothing
	missed    int // who had something since that the other had not: 0 nobody, 1 want, 2 got
}

type aligner struct {
	want, got []item
	known     map[position]bool
}

// from tells whether the rest agrees. What both have agrees, whether it may be
// missed or not. What one side lacks must be allowed to be missed, or repeat
// what both had last; and only one side may have such a thing in one place.
func (a *aligner) from(p position) bool {
	if p.want == len(a.want) && p.got == len(a.got) {
		return true
	}
	if known, ok := a.known[p]; ok {
		return known
	}
	ok := false
	if p.want < len(a.want) && p.got < len(a.got) && a.want[p.want].value == a.got[p.got].value {
		ok = a.from(position{want: p.want + 1, got: p.got + 1, last: p.want})
	}
	if !ok && p.want < len(a.want) {
		switch x := a.want[p.want]; {
		case a.repeats(p, x):
			ok = a.from(position{p.want + 1, p.got, p.last, p.missed})
		case x.missed && p.missed != 2:
			ok = a.from(position{p.want + 1, p.got, p.last, 1})
		}
	}
	if !ok && p.got < len(a.got) {
		switch x := a.got[p.got]; {
		case a.repeats(p, x):
			ok = a.from(position{p.want, p.got + 1, p.last, p.missed})
		case x.missed && p.missed != 1:
			ok = a.from(position{p.want, p.got + 1, p.last, 2})
		}
	}
	a.known[p] = ok
	return ok
}

// repeats tells whether x is what both had last, with something that was missed
// between.
func (a *aligner) repeats(p position, x item) bool {
	return p.last >= 0 && a.want[p.last].value == x.value
}
