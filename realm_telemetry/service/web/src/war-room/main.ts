import "../shared/page-header";
import "./event-list";
import "./page";
