package wake

import (
	"testing"
	"testing/synctest"
)

func TestSlowReadersGetEachWakeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New()
		defer q.Close()
		q.Add("first")
		synctest.Wait() // it is on its way out
		for range 1000 {
			q.Add("a")
			q.Add("b")
		}
		got := map[string]int{}
		for range 3 {
			got[<-q.C()]++
		}
		synctest.Wait()
		select {
		case uid := <-q.C():
			t.Errorf("%q came again", uid)
		default:
		}
		if got["first"] != 1 || got["a"] != 1 || got["b"] != 1 {
			t.Errorf("got %v", got)
		}
		q.Add("a")
		if uid := <-q.C(); uid != "a" {
			t.Errorf("got %q", uid)
		}
	})
}
