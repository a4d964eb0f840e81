//go:build long

package subpath

import "testing"

func TestLongSwapAttack(t *testing.T) { swapAttack(t, 10000) }
