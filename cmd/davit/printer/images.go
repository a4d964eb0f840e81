package printer

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/server/wire"
)

// ImageHeader is the header of ImageRows.
func ImageHeader(wide bool) []string {
	h := []string{"IMAGE", "ID", "SIZE", "PINNED", "PODS"}
	if wide {
		h = append(h, "CREATED", "DIGESTS")
	}
	return h
}

// ImageRows are the rows of an image: one for each of its names.
func ImageRows(i wire.Image, wide bool, now time.Time) [][]string {
	names := i.Names
	if len(names) == 0 {
		names = []string{""}
	}
	pods, pinned := strconv.Itoa(len(i.Pods)), "no"
	if wide && len(i.Pods) > 0 {
		pods = strings.Join(i.Pods, ",")
	}
	if i.Pinned {
		pinned = "yes"
	}
	var rows [][]string
	for _, name := range names {
		row := []string{orNone(name), ShortID(i.ID), Bytes(i.Size), pinned, pods}
		if wide {
			row = append(row, age(metav1.NewTime(i.Created), now), orNone(strings.Join(i.RepoDigests, ",")))
		}
		rows = append(rows, row)
	}
	return rows
}

// ShortID is the beginning of a digest's digits, enough for people.
func ShortID(digest string) string {
	_, hex, ok := strings.Cut(digest, ":")
	if !ok {
		hex = digest
	}
	return hex[:min(len(hex), 12)]
}

// Bytes is a number of bytes for people, in powers of 1000.
func Bytes(n int64) string {
	size, unit := unitOf(n)
	if size == 1 {
		return strconv.FormatInt(n, 10) + unit
	}
	return fmt.Sprintf("%.1f%s", float64(n)/float64(size), unit)
}

func unitOf(n int64) (size int64, unit string) {
	switch {
	case n >= 1e9:
		return 1e9, "GB"
	case n >= 1e6:
		return 1e6, "MB"
	case n >= 1e3:
		return 1e3, "kB"
	default:
		return 1, "B"
	}
}
