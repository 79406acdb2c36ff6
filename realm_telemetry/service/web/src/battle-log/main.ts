import "../shared/page-header";
import "./page";
