// Package get is the command davit get: kinds, how they are asked for, and the
// tables and objects in which they are shown. A kind is one row of Kinds; what
// kubectl has words for has the same here.
package get
