//go:build long

package volumes

import (
	"testing"
	"time"
)

func TestLongReaderSeesWholeConfigMaps(t *testing.T) {
	readWhileUpdating(t, ofConfigMap("vol"), time.Minute)
}

func TestLongReaderSeesWholeSecrets(t *testing.T) {
	readWhileUpdating(t, ofSecret("vol"), time.Minute)
}
