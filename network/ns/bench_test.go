package ns

import (
	"fmt"
	"path/filepath"
	"testing"
)

func BenchmarkCreate(b *testing.B) {
	root := tempRoot(b)
	for _, owned := range []bool{false, true} {
		b.Run(fmt.Sprintf("owned=%v", owned), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				o := options()
				if owned {
					o.IDs, o.Helper = &IDRange{Host: 231072, Size: 65536}, []string{"/bin/cat"}
				}
				dir := filepath.Join(root, fmt.Sprintf("%v%d", owned, i))
				mustCreate(b, dir, o)
				b.StopTimer()
				if err := Remove(dir); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
